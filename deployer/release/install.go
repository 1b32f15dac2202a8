package release

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/erlops/erlops/deployer/fleet"
)

// Install unpacks the archive for the node beside older ones and makes it the
// current one.
func (h *Host) Install(ctx context.Context, i fleet.Installation) error {
	if err := checkNode(i.NodeID); err != nil {
		return err
	}
	if !fleet.ValidSHA256(i.Archive.SHA256) {
		return fleet.Permanent(fmt.Errorf("%q is no SHA-256 digest", i.Archive.SHA256))
	}
	about, err := json.Marshal(map[string]string{
		"owner": i.Owner, "family_id": i.FamilyID, "node_id": i.NodeID, "node_name": i.NodeName, "archive": i.Archive.SHA256,
	})
	if err != nil {
		return err
	}
	_, err = h.script(ctx, "install.sh", append(about, '\n'), i.NodeID, i.Archive.SHA256)
	return err
}

// Configure renders the templates and puts the cookie in place. It returns
// warnings for the user.
func (h *Host) Configure(ctx context.Context, i fleet.Installation) ([]string, error) {
	if err := checkNode(i.NodeID); err != nil {
		return nil, err
	}
	if _, err := h.script(ctx, "cookie.sh", []byte(string(i.Cookie)), i.NodeID); err != nil {
		return nil, err
	}
	var warnings []string
	for _, name := range i.Templates {
		found, err := h.configure(ctx, i, name)
		if err != nil {
			return nil, err
		}
		warnings = append(warnings, found...)
	}
	return warnings, nil
}

// configure renders one template. The original is kept on the host, so that it
// can be rendered again with other values.
func (h *Host) configure(ctx context.Context, i fleet.Installation, name string) ([]string, error) {
	name, err := templatePath(name)
	if err != nil {
		return nil, fleet.Permanent(err)
	}
	text, err := h.script(ctx, "template.sh", nil, i.NodeID, i.Archive.SHA256, name)
	if err != nil {
		return nil, err
	}
	rendered, warnings, err := render(name, text, i.Variables)
	if err != nil {
		return nil, fleet.Permanent(fmt.Errorf("host %s: %w", h.name, err))
	}
	_, err = h.script(ctx, "write.sh", []byte(rendered), i.NodeID, name)
	return warnings, err
}

// templatePath makes a path inside the archive uniform.
func templatePath(name string) (string, error) {
	clean := path.Clean(name)
	if name == "" || path.IsAbs(name) || clean == "." || clean == ".." || strings.HasPrefix(clean, "../") || strings.ContainsAny(name, "\x00\n") {
		return "", fmt.Errorf("template %q is not a path inside the archive", name)
	}
	return clean, nil
}
