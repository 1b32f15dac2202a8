package cloud

import (
	"bytes"
	"errors"
	"fmt"
	"mime/multipart"
	"net/textproto"
	"strings"

	"github.com/erlops/erlops/deployer/provider"
	"github.com/erlops/erlops/deployer/ssh"
)

// UserData makes the user data of a machine: that of the user, and a host key
// when one is to be installed. The key is the same for the same token, so that
// a repeated request is the same request. It returns the public key, as in
// authorized_keys, or "".
func UserData(e provider.Environment, source, token, user string) (data []byte, hostKey string, err error) {
	if source != HostKeyCloudInit {
		return []byte(user), "", nil
	}
	if e.Derive == nil {
		return nil, "", errors.New("this deployer has no secret that a host key could be made of")
	}
	private, public, err := ssh.NewHostKey(e.Derive("host key of " + token))
	if err != nil {
		return nil, "", err
	}
	data, err = join(cloudConfig(private, public), user)
	return data, public, err
}

func cloudConfig(private, public string) string {
	return fmt.Sprintf("#cloud-config\nssh_deletekeys: true\nssh_genkeytypes: []\nssh_keys:\n  ed25519_private: |\n    %s\n  ed25519_public: %s\n",
		strings.ReplaceAll(strings.TrimSpace(private), "\n", "\n    "), public)
}

// join puts what cloud-init is told into one: it takes the parts of a MIME
// message.
func join(config, user string) ([]byte, error) {
	if strings.TrimSpace(user) == "" {
		return []byte(config), nil
	}
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if err := w.SetBoundary("==erl-deploy=="); err != nil {
		return nil, err
	}
	fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%q\nMIME-Version: 1.0\n\n", w.Boundary())
	for _, part := range []struct{ kind, text string }{{"text/cloud-config", config}, {partType(user), user}} {
		header := textproto.MIMEHeader{"Content-Type": {part.kind + `; charset="utf-8"`}}
		p, err := w.CreatePart(header)
		if err != nil {
			return nil, err
		}
		if _, err := p.Write([]byte(part.text)); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

// partType names what a user's data is, by its first line as cloud-init does.
func partType(user string) string {
	switch {
	case strings.HasPrefix(user, "#!"):
		return "text/x-shellscript"
	case strings.HasPrefix(user, "#include"):
		return "text/x-include-url"
	case strings.HasPrefix(user, "## template: jinja"):
		return "text/jinja2"
	}
	return "text/cloud-config"
}
