package fleet

import (
	"path"
	"strconv"
	"strings"
	"time"
)

// Platform is what compiled code runs on.
type Platform struct {
	// OS as in GOOS: linux, darwin, freebsd; empty for any.
	OS string `json:"os,omitempty"`
	// Arch as uname -m says, made uniform: x86_64, aarch64, i686, armv7l;
	// empty for any.
	Arch string `json:"arch,omitempty"`
}

// String names the platform, such as linux/x86_64.
func (p Platform) String() string { return orAny(p.OS) + "/" + orAny(p.Arch) }

func orAny(s string) string {
	if s == "" {
		return "any"
	}
	return s
}

// NewPlatform makes a platform from what `uname -s` and `uname -m` print, or
// from what a user calls them.
func NewPlatform(os, arch string) Platform {
	os, arch = strings.ToLower(strings.TrimSpace(os)), strings.ToLower(strings.TrimSpace(arch))
	switch arch {
	case "amd64", "x64":
		arch = "x86_64"
	case "arm64":
		arch = "aarch64"
	case "i386", "i486", "i586", "386", "x86":
		arch = "i686"
	}
	return Platform{OS: os, Arch: arch}
}

// Fits tells whether what is built for p runs on a host.
func (p Platform) Fits(host Platform) bool {
	return (p.OS == "" || p.OS == host.OS) && (p.Arch == "" || p.Arch == host.Arch)
}

// Archive is an uploaded .tar.gz with an Erlang release.
type Archive struct {
	Platform
	// SHA256 of the file, 64 lower-case hexadecimal digits; it names the
	// archive.
	SHA256 string `json:"sha256"`
	// Size of the file in bytes.
	Size int64 `json:"size"`
}

// Release is what runs on a node, and how.
type Release struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	// Archives for the platforms; the most specific one that fits is taken.
	Archives []Archive `json:"archives"`
	// Templates are the files in the archive in which {{ node_name }} and the
	// other variables are replaced, such as etc/vm.args.
	Templates []string `json:"templates"`
	// StartCommand and StopCommand are run by a shell in the release's
	// directory, such as "bin/riak start". They must return.
	StartCommand string `json:"start_command"`
	StopCommand  string `json:"stop_command"`
	// PingCommand must succeed on a started node; empty to rely on
	// distribution alone.
	PingCommand string `json:"ping_command,omitempty"`
	// Cookie of the nodes.
	Cookie Secret `json:"cookie"`
	// Warnings are what was found in the archives that is no error, such as a
	// template that puts a cookie on a command line.
	Warnings  []string  `json:"warnings,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// Validate tells all that is wrong with a release.
func (r Release) Validate() error {
	var c checker
	checkName(&c, "name", r.Name)
	checkCommand(&c, "start_command", r.StartCommand, true)
	checkCommand(&c, "stop_command", r.StopCommand, true)
	checkCommand(&c, "ping_command", r.PingCommand, false)
	c.check(r.Cookie != "", "cookie", "is missing")
	c.check(validCookie(string(r.Cookie)), "cookie", "must be printable ASCII without spaces, at most 255 characters")
	for i, t := range r.Templates {
		c.check(localPath(t), "templates["+strconv.Itoa(i)+"]", "%q is not a path inside the archive", t)
	}
	seen := map[Platform]bool{}
	for i, a := range r.Archives {
		at := "archives[" + strconv.Itoa(i) + "]"
		c.check(ValidSHA256(a.SHA256), at+".sha256", "%q is not 64 lower-case hexadecimal digits", a.SHA256)
		c.check(!seen[a.Platform], at, "there is an archive for %s already", a.Platform)
		seen[a.Platform] = true
	}
	return c.err("release")
}

// ArchiveFor returns the archive for a host: of those that fit the one that
// says most about its platform.
func (r Release) ArchiveFor(host Platform) (Archive, bool) {
	var best Archive
	score := -1
	for _, a := range r.Archives {
		n := 0
		if a.OS != "" {
			n++
		}
		if a.Arch != "" {
			n++
		}
		if a.Fits(host) && n > score {
			best, score = a, n
		}
	}
	return best, score >= 0
}

// ValidSHA256 tells whether s is a digest as this package writes it.
func ValidSHA256(s string) bool {
	if len(s) != 64 {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') }) < 0
}

// validCookie keeps to what every form of passing a cookie can carry.
func validCookie(s string) bool {
	return len(s) <= 255 && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

func localPath(p string) bool {
	return p != "" && !path.IsAbs(p) && path.Clean(p) != "." && path.Clean(p) != ".." &&
		!strings.HasPrefix(path.Clean(p), "../") && !strings.ContainsAny(p, "\x00\n")
}

const (
	maxName    = 255
	maxCommand = 4096
)

func checkName(c *checker, field, name string) {
	c.check(strings.TrimSpace(name) != "", field, "is missing")
	c.check(len(name) <= maxName, field, "is longer than %d bytes", maxName)
	c.check(!strings.ContainsRune(name, 0), field, "%q holds a zero byte", name)
}

func checkCommand(c *checker, field, command string, needed bool) {
	c.check(!needed || strings.TrimSpace(command) != "", field, "is missing")
	c.check(len(command) <= maxCommand, field, "is longer than %d bytes", maxCommand)
	c.check(!strings.ContainsAny(command, "\x00"), field, "holds a zero byte")
}
