package release

import (
	"archive/tar"

	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/erlops/erlops/deployer/fleet"
)

// Limits bound what an archive may expand to; zero fields have defaults.
type Limits struct {
	Bytes int64 // of all files; 0 for 16 GiB
	Files int   // entries of any kind; 0 for 500 000
	Path  int   // bytes of a name; 0 for 1024
}

const (
	defaultBytes = 16 << 30
	defaultFiles = 500_000
	defaultPath  = 1024
	// maxProblems is how many are listed of an archive.
	maxProblems = 20
	// maxTemplate bounds the size of a template, in bytes.
	maxTemplate = 1 << 20
	// maxNames bounds the names that are remembered, in bytes: an archive of
	// nothing but deep folders must not fill the memory.
	maxNames = 64 << 20
)

func (l Limits) withDefaults() Limits {
	if l.Bytes == 0 {
		l.Bytes = defaultBytes
	}
	if l.Files == 0 {
		l.Files = defaultFiles
	}
	if l.Path == 0 {
		l.Path = defaultPath
	}
	return l
}

// Info is what an archive holds.
type Info struct {
	// Root is the folder that all of it is in, and that templates and commands
	// are relative to; empty for none.
	Root  string
	Files int
	Bytes int64 // of all files, unpacked
	// HasERTS tells whether it brings an Erlang runtime system.
	HasERTS bool
}

// Check reads a whole archive and tells all that is wrong with it: that it is
// no .tar.gz, or holds what must not be unpacked on a host, or too much. The
// error is a [*fleet.ValidationError] then; other errors are of reading. Memory
// does not grow with the size of files.
func Check(ctx context.Context, content io.ReaderAt, size int64, l Limits) (Info, error) {
	c := newInspector(l)
	if err := c.read(ctx, io.NewSectionReader(content, 0, size), nil); err != nil {
		return Info{}, err
	}
	if err := c.finish(); err != nil {
		return Info{}, err
	}
	return Info{Root: c.root(), Files: c.files, Bytes: c.bytes, HasERTS: c.erts}, nil
}

// CheckTemplates looks for templates in an archive that passed Check, and
// returns warnings about what is in them. A template that is missing, or is no
// plain file, makes it a [*fleet.ValidationError].
func CheckTemplates(ctx context.Context, content io.ReaderAt, size int64, templates []string) (warnings []string, err error) {
	c := newInspector(Limits{})
	texts := map[string]string{}
	err = c.read(ctx, io.NewSectionReader(content, 0, size), func(name string, h *tar.Header, r io.Reader) error {
		if h.Typeflag != tar.TypeReg || !slices.ContainsFunc(templates, func(t string) bool { return c.isOrMayBe(name, t) }) {
			return nil
		}
		text, err := io.ReadAll(io.LimitReader(r, maxTemplate+1))
		texts[name] = string(text)
		return err
	})
	if err != nil {
		return nil, err
	}
	return templateFindings(c.root(), texts, templates)
}

// isOrMayBe tells whether an entry is a file of the release, if all is in the
// folder that came first, or is in none.
func (c *inspector) isOrMayBe(name, file string) bool {
	file = path.Clean(file)
	return name == file || name == path.Join(c.first, file)
}

func templateFindings(root string, texts map[string]string, templates []string) (warnings []string, err error) {
	var problems []fleet.Problem
	named := false
	for i, t := range templates {
		at := fmt.Sprintf("templates[%d]", i)
		name, err := templatePath(t)
		if err != nil {
			problems = append(problems, fleet.Problem{Path: at, Message: err.Error()})
			continue
		}
		text, found := texts[path.Join(root, name)]
		switch {
		case !found:
			problems = append(problems, fleet.Problem{Path: at, Message: fmt.Sprintf("the archive has no file %q", name)})
		case len(text) > maxTemplate:
			problems = append(problems, fleet.Problem{Path: at, Message: fmt.Sprintf("%q is larger than %d bytes", name, maxTemplate)})
		}
		warnings = append(warnings, aboutCookie(name, text)...)
		for _, m := range placeholder.FindAllStringSubmatch(text, -1) {
			named = named || m[1] == "node_name"
		}
	}
	if len(problems) > 0 {
		return nil, &fleet.ValidationError{What: "release", Problems: problems}
	}
	if len(templates) > 0 && !named {
		warnings = append(warnings, "no template has {{ node_name }}: unless the start command sees to it otherwise, the node will not have the name that it is expected under")
	}
	return warnings, nil
}

// inspector collects what an archive holds and what is wrong with it.
type inspector struct {
	limits   Limits
	files    int
	bytes    int64
	erts     bool
	names    int             // bytes of what the maps remember
	first    string          // of the top entries
	tops     map[string]bool // top entries; the value tells folders
	links    map[string]bool
	parents  map[string]bool
	problems []fleet.Problem
}

func newInspector(l Limits) *inspector {
	return &inspector{limits: l.withDefaults(), tops: map[string]bool{}, links: map[string]bool{}, parents: map[string]bool{}}
}

func (c *inspector) problem(format string, args ...any) {
	if len(c.problems) < maxProblems {
		c.problems = append(c.problems, fleet.Problem{Message: fmt.Sprintf(format, args...)})
	}
}

func (c *inspector) refused() error {
	if len(c.problems) == 0 {
		return nil
	}
	return &fleet.ValidationError{What: "archive", Problems: c.problems}
}

// errTooMuch ends the reading of an archive that is over a limit.
var errTooMuch = errors.New("too much")

// read goes through the archive. each may be nil; it gets the content of every
// entry that has some.
func (c *inspector) read(ctx context.Context, r io.Reader, each func(name string, h *tar.Header, r io.Reader) error) error {
	source := &contextReader{ctx: ctx, r: r}
	zipped, err := gzip.NewReader(source)
	if err != nil {
		return c.unreadable(source, fmt.Errorf("it is no gzip file: %w", err))
	}
	entries := tar.NewReader(zipped)
	for {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return c.unreadable(source, fmt.Errorf("it is no whole tar file: %w", err))
		}
		if err := c.entry(h, entries, each); err != nil {
			return c.unreadable(source, err)
		}
	}
	// The rest has the checksum of the whole; a tar file may be padded, though
	// not with more than it holds.
	rest, err := io.Copy(io.Discard, io.LimitReader(zipped, c.limits.Bytes))
	if err == nil && rest == c.limits.Bytes {
		err = errTooMuch
	}
	if err != nil {
		return c.unreadable(source, err)
	}
	return nil
}

// unreadable tells errors of reading from what is wrong with the archive.
func (c *inspector) unreadable(source *contextReader, err error) error {
	if source.err != nil {
		return fmt.Errorf("read the archive: %w", source.err)
	}
	if errors.Is(err, errTooMuch) {
		err = fmt.Errorf("it expands to more than %d bytes or %d files, or has more names than can be looked at", c.limits.Bytes, c.limits.Files)
	}
	c.problem("%s", err)
	return c.refused()
}

func (c *inspector) entry(h *tar.Header, content io.Reader, each func(string, *tar.Header, io.Reader) error) error {
	c.files++
	c.bytes += max(h.Size, 0)
	if c.files > c.limits.Files || c.bytes > c.limits.Bytes {
		return errTooMuch
	}
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, ok := c.name(h.Name)
	if !ok {
		return nil
	}
	c.place(name, h)
	if c.names > maxNames {
		return errTooMuch
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
	case tar.TypeDir:
	case tar.TypeSymlink:
		c.checkLink(name, h.Linkname)
	case tar.TypeLink:
		if _, ok := c.name(h.Linkname); !ok {
			c.problem("hard link %q leads out of the archive", h.Name)
		}
	default:
		c.problem("%q is a device, a pipe or another special file", h.Name)
	}
	if each != nil {
		return each(name, h, content)
	}
	_, err := io.Copy(io.Discard, content)
	return err
}

// name makes a name uniform, if it may be one.
func (c *inspector) name(name string) (string, bool) {
	clean := path.Clean(name)
	switch {
	case path.IsAbs(name):
		c.problem("%q is an absolute path", name)
	case clean == ".." || strings.HasPrefix(clean, "../") || slices.Contains(strings.Split(name, "/"), ".."):
		c.problem("%q leads out of the archive, or could", name)
	case len(name) > c.limits.Path:
		c.problem("%q… is longer than %d bytes", name[:64], c.limits.Path)
	case strings.ContainsFunc(name, unicode.IsControl):
		c.problem("%q has control characters", name)
	default:
		return clean, true
	}
	return "", false
}

// place notes where an entry is.
func (c *inspector) place(name string, h *tar.Header) {
	if name == "." {
		return
	}
	top, _, nested := strings.Cut(name, "/")
	if len(c.tops) == 0 {
		c.first = top
	}
	if folder, known := c.tops[top]; !known || !folder {
		c.tops[top] = nested || h.Typeflag == tar.TypeDir
		c.names += len(top)
	}
	for dir := path.Dir(name); dir != "." && !c.parents[dir]; dir = path.Dir(dir) {
		c.parents[dir] = true
		c.names += len(dir)
	}
	if h.Typeflag == tar.TypeSymlink {
		c.links[name] = true
		c.names += len(name)
	}
	c.erts = c.erts || strings.Contains("/"+name, "/erts-")
}

// checkLink accepts symbolic links of which it is certain that they stay
// inside: up first and then down. A .. behind a name could go anywhere, because
// the name may be a link itself.
func (c *inspector) checkLink(name, target string) {
	down := false
	depth := strings.Count(name, "/")
	for part := range strings.SplitSeq(target, "/") {
		switch {
		case part == ".." && down:
			c.problem("symbolic link %q to %q goes up behind a name, which could lead anywhere", name, target)
			return
		case part == "..":
			depth--
		case part != "" && part != ".":
			down = true
		}
	}
	if path.IsAbs(target) || depth < 0 || target == "" {
		c.problem("symbolic link %q leads out of the archive, to %q", name, target)
	}
	if strings.ContainsFunc(target, unicode.IsControl) {
		c.problem("symbolic link %q has control characters in %q", name, target)
	}
}

// finish looks at the archive as a whole: what is below a link would be
// unpacked to where the link leads.
func (c *inspector) finish() error {
	for link := range c.links {
		if c.parents[link] {
			c.problem("%q is a symbolic link and has entries below it", link)
		}
	}
	if len(c.tops) == 0 {
		c.problem("it is empty")
	}
	slices.SortFunc(c.problems, func(a, b fleet.Problem) int { return strings.Compare(a.Message, b.Message) })
	return c.refused()
}

// root is the folder that all is in, unless it is one that releases have at
// their top. The host decides by the same rule: see install.sh.
func (c *inspector) root() string {
	if len(c.tops) != 1 {
		return ""
	}
	for name, folder := range c.tops {
		if folder && !slices.Contains([]string{"bin", "lib", "etc", "releases"}, name) && !strings.HasPrefix(name, "erts-") {
			return name
		}
	}
	return ""
}

// contextReader ends with its context, and keeps the error of what it reads
// from, which no archive can cause.
type contextReader struct {
	ctx context.Context
	r   io.Reader
	err error
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		r.err = context.Cause(r.ctx)
		return 0, r.err
	}
	n, err := r.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}
