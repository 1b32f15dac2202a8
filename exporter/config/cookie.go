package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// maxCookie is the longest cookie: it is an atom on the node.
const maxCookie = 255

// readCookie reads a cookie file by the rules of Erlang's own (auth.erl,
// read_cookie/2): a regular file that nobody but its owner can access, with one
// line of printable ASCII.
func readCookie(path string) (Secret, error) {
	data, err := readOwned(path)
	if err != nil {
		return "", err
	}
	// What ends the cookie is the first character that is not printable; only
	// line ends and spaces may follow. Spaces before it belong to the cookie.
	end := bytes.IndexFunc(data, func(r rune) bool { return r < ' ' || r > '~' })
	if end < 0 {
		end = len(data)
	}
	if len(bytes.Trim(data[end:], "\r\n ")) > 0 {
		return "", fmt.Errorf("bad characters in the cookie in %s: it must be one line of printable ASCII", path)
	}
	if err := checkCookie(Secret(data[:end])); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return Secret(data[:end]), nil
}

// checkCookie returns an error for a cookie that no node can have. The error
// does not hold it.
func checkCookie(c Secret) error {
	switch {
	case c == "":
		return errors.New("the cookie is empty")
	case len(c) > maxCookie:
		return fmt.Errorf("the cookie is longer than %d characters", maxCookie)
	}
	for _, r := range string(c) {
		if r < ' ' || r > '~' {
			return errors.New("bad characters in the cookie: it must be printable ASCII")
		}
	}
	return nil
}

// readOwned reads a small file that only its owner may be able to access.
func readOwned(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, openError(err)
	}
	if perm := info.Mode().Perm(); info.Mode().IsRegular() && perm&0o077 != 0 {
		return nil, fmt.Errorf("%s must be accessible by its owner only, but its mode is %04o: use chmod 600", path, perm)
	}
	return readSmall(path)
}

// maxSmall bounds files that hold a single secret.
const maxSmall = 64 << 10

// readSmall reads a regular file of bounded size. Devices and pipes are refused,
// for reading them could block for ever.
func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, openError(err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open %s: not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSmall+1))
	if err == nil && len(data) > maxSmall {
		err = fmt.Errorf("open %s: more than %d bytes", path, maxSmall)
	}
	return data, err
}

// openError words a failed stat as the failed open that it stands for.
func openError(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return &fs.PathError{Op: "open", Path: p.Path, Err: p.Err}
	}
	return err
}
