package api

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/erlops/erlops/deployer/fleet"
)

const (
	// maxMembers is the most bytes that a release request may have besides the
	// archive.
	maxMembers = 1 << 20
	// maxNesting is how deep a skipped or small value may be nested.
	maxNesting = 32
	// streamBuffer is how much of a request is in memory at a time.
	streamBuffer = 64 << 10
	// contentMember is the member that holds the archive.
	contentMember = "release"
)

// requestStream reads a JSON object of which one member is an archive in
// base64: hundreds of megabytes perhaps, which are never in memory as a whole.
// In that one member line breaks may be raw, which JSON forbids: base64(1)
// writes them, and shell scripts paste its output between two quotes.
type requestStream struct {
	r *bufio.Reader
	// budget is how many bytes may still be read that are no archive.
	budget int
}

// readReleaseRequest hands the archive to store as it comes, and returns all
// other members as a JSON object of their own. Errors of the form are
// [fleet.ErrInvalid]; those of store and of r come back as they are.
func readReleaseRequest(r io.Reader, store func(content io.Reader) error) (members []byte, err error) {
	s := &requestStream{r: bufio.NewReaderSize(r, streamBuffer), budget: maxMembers}
	out := bytes.NewBufferString("{")
	stored := false
	err = s.object(func(key []byte) error {
		var name string
		if err := json.Unmarshal(key, &name); err != nil {
			return malformed("a member's name is no JSON string: %w", err)
		}
		if name == contentMember {
			if stored {
				return malformed("there is more than one %q", contentMember)
			}
			stored = true
			return s.content(store)
		}
		value, err := s.value()
		if err != nil {
			return err
		}
		if out.Len() > 1 {
			out.WriteByte(',')
		}
		out.Write(key)
		out.WriteByte(':')
		out.Write(value)
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case !stored:
		return nil, malformed("%q is missing: the release archive in base64", contentMember)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// errEnds is the end of the body where there should be more.
var errEnds = errors.New("it ends in the middle")

// malformed is the refusal of a request that is not of the form.
func malformed(format string, args ...any) error {
	return fleet.Errorf(fleet.ErrInvalid, "the body is not a release request: "+format, args...)
}

// object reads a whole object and nothing behind it; member is called behind
// the colon of each.
func (s *requestStream) object(member func(key []byte) error) error {
	if err := s.expect('{'); err != nil {
		return err
	}
	for first := true; ; first = false {
		c, err := s.next()
		if err != nil {
			return err
		}
		switch {
		case first && c == '}':
			return s.end()
		case c != '"':
			return malformed("a member's name is expected, not %q", c)
		}
		key, err := s.text()
		if err != nil {
			return err
		}
		if err := s.expect(':'); err != nil {
			return err
		}
		if err := member(key); err != nil {
			return err
		}
		switch c, err = s.next(); {
		case err != nil:
			return err
		case c == '}':
			return s.end()
		case c != ',':
			return malformed("a comma or the end of the object is expected, not %q", c)
		}
	}
}

// end checks that only space follows.
func (s *requestStream) end() error {
	c, err := s.next()
	switch {
	case errors.Is(err, errEnds):
		return nil
	case err != nil:
		return err
	}
	return malformed("something follows behind its end: %q", c)
}

// next returns the next byte that is no space. The end of the body is errEnds.
func (s *requestStream) next() (byte, error) {
	for {
		c, err := s.byte()
		if err != nil || !isSpace(c) {
			return c, err
		}
	}
}

func (s *requestStream) expect(want byte) error {
	c, err := s.next()
	if err == nil && c != want {
		err = malformed("%q is expected, not %q", want, c)
	}
	return err
}

// byte returns the next byte and counts it.
func (s *requestStream) byte() (byte, error) {
	if s.budget--; s.budget < 0 {
		return 0, malformed("it has more than %d bytes besides the archive", maxMembers)
	}
	c, err := s.r.ReadByte()
	if errors.Is(err, io.EOF) {
		return 0, malformed("%w", errEnds)
	}
	return c, err
}

// text reads a string from behind its quote, and returns it with both.
func (s *requestStream) text() ([]byte, error) {
	out := []byte{'"'}
	for {
		c, err := s.byte()
		if err != nil {
			return nil, err
		}
		out = append(out, c)
		switch {
		case c == '"':
			if !utf8.Valid(out) {
				return nil, malformed("it is not UTF-8")
			}
			return out, nil
		case c == '\\':
			if c, err = s.byte(); err != nil {
				return nil, err
			}
			out = append(out, c)
		}
	}
}

// value reads any value but the archive.
func (s *requestStream) value() ([]byte, error) {
	var out []byte
	depth := 0
	for {
		c, err := s.next()
		if err != nil {
			return nil, err
		}
		switch c {
		case '"':
			text, err := s.text()
			if err != nil {
				return nil, err
			}
			out = append(out, text...)
		case '{', '[':
			if depth++; depth > maxNesting {
				return nil, malformed("it is nested more than %d deep", maxNesting)
			}
			out = append(out, c)
		default:
			out = append(out, c)
			if c == '}' || c == ']' {
				depth--
			}
		}
		if depth > 0 {
			continue
		}
		if next, err := s.r.Peek(1); err != nil || isSpace(next[0]) || next[0] == ',' || next[0] == '}' {
			break
		}
	}
	if !json.Valid(out) {
		return nil, malformed("%s is no JSON value", strconv.Quote(string(out[:min(len(out), 40)])))
	}
	return out, nil
}

// content hands the archive to store.
func (s *requestStream) content(store func(io.Reader) error) error {
	if err := s.expect('"'); err != nil {
		return err
	}
	text := &base64Text{r: s.r}
	content := &base64Content{text: text, decoder: base64.NewDecoder(base64.StdEncoding, text)}
	err := store(content)
	if content.err == nil && err == nil {
		// What store has not read must be right all the same.
		_, err = io.Copy(io.Discard, content)
	}
	if content.err != nil {
		return content.err // store may have made something else of it
	}
	return err
}

// base64Content is what a [base64Text] encodes.
type base64Content struct {
	text    *base64Text
	decoder io.Reader
	err     error // what is wrong with the request, if something is
}

// Read implements [io.Reader].
func (c *base64Content) Read(p []byte) (int, error) {
	n, err := c.decoder.Read(p)
	var corrupt base64.CorruptInputError
	switch {
	case c.text.err != nil && !errors.Is(c.text.err, io.EOF):
		c.err = c.text.err // the decoder takes some of them for an early end
	case errors.Is(err, io.ErrUnexpectedEOF):
		c.err = malformed("the base64 of %q ends in the middle", contentMember)
	case errors.As(err, &corrupt):
		c.err = malformed("%q is not base64 near character %d", contentMember, int64(corrupt))
	}
	if c.err != nil {
		err = c.err
	}
	return n, err
}

// base64Text is the inside of a JSON string up to its closing quote, space
// left out and escapes resolved.
type base64Text struct {
	r       *bufio.Reader
	padding int
	err     error
}

// Read implements [io.Reader]. It looks only at what is there already: a slow
// client must not hold back what can be stored.
func (t *base64Text) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && t.err == nil && (n == 0 || t.r.Buffered() > 0) {
		n += t.plain(p[n:])
		if n == len(p) || n > 0 && t.r.Buffered() == 0 {
			break
		}
		var c byte
		if c, t.err = t.next(); t.err == nil && !isSpace(c) {
			if t.err = t.check(c); t.err == nil {
				p[n] = c
				n++
			}
		}
	}
	if n > 0 {
		return n, nil
	}
	return 0, t.err
}

// plain copies what needs no second look, which is nearly all.
func (t *base64Text) plain(p []byte) (n int) {
	if t.padding > 0 {
		return 0
	}
	there, _ := t.r.Peek(min(t.r.Buffered(), len(p)))
	for _, c := range there {
		if c == '"' || c == '\\' || c == '=' || isSpace(c) {
			break
		}
		p[n] = c
		n++
	}
	_, _ = t.r.Discard(n) // it is there
	return n
}

// check keeps the decoder from seeing what may follow nothing: it stops at the
// padding and would overlook the rest.
func (t *base64Text) check(c byte) error {
	if c == '=' {
		if t.padding++; t.padding > 2 {
			return malformed("the base64 of %q has too much padding", contentMember)
		}
		return nil
	}
	if t.padding > 0 {
		return malformed("the base64 of %q goes on behind its padding", contentMember)
	}
	return nil
}

// next returns one character of the string, or [io.EOF] at its closing quote.
func (t *base64Text) next() (byte, error) {
	c, err := t.r.ReadByte()
	switch {
	case errors.Is(err, io.EOF):
		return 0, malformed("%w of %q", errEnds, contentMember)
	case err != nil:
		return 0, err
	case c == '"':
		return 0, io.EOF
	case c == '\\':
		return t.escape()
	}
	return c, nil
}

// escape reads what follows a backslash.
func (t *base64Text) escape() (byte, error) {
	c, err := t.r.ReadByte()
	if err != nil {
		return 0, malformed("%w of %q", errEnds, contentMember)
	}
	switch c {
	case '/':
		return c, nil
	case 'n', 'r', 't':
		return ' ', nil
	case 'u':
		digits := make([]byte, 4)
		if _, err := io.ReadFull(t.r, digits); err != nil {
			return 0, malformed("%w of %q", errEnds, contentMember)
		}
		if n, err := strconv.ParseUint(string(digits), 16, 16); err == nil && n < utf8.RuneSelf {
			return byte(n), nil
		}
	}
	return 0, malformed("%q holds an escape that cannot be base64", contentMember)
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }
