package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/erlops/erlops/deployer/fleet"
)

// folder is where everything is, relative to the user's home.
const folder = ".erl-deploy"

// Upload brings an archive to the host, once for all of its nodes. It goes on
// with what was interrupted, verifies the digest there, and does nothing when
// the archive is there.
func (h *Host) Upload(ctx context.Context, a fleet.Archive, content io.ReaderAt, progress func(done int64)) error {
	if !fleet.ValidSHA256(a.SHA256) {
		return fleet.Permanent(fmt.Errorf("%q is no SHA-256 digest", a.SHA256))
	}
	done, err := h.hosts.uploading(ctx, h.where+" "+a.SHA256)
	if err != nil {
		return err
	}
	defer done()
	there, err := h.beginUpload(ctx, a)
	if err != nil || there {
		return err
	}
	if err := h.conn.Put(ctx, content, a.Size, folder+"/archives/"+a.SHA256+".tar.gz.part", progress); err != nil {
		return h.uploadFailed(ctx, a, err)
	}
	if _, err := h.script(ctx, "upload_end.sh", nil, a.SHA256); err != nil {
		return damaged(ctx, a, content, err)
	}
	return nil
}

// beginUpload tells whether the archive is there, and whether it has room.
func (h *Host) beginUpload(ctx context.Context, a fleet.Archive) (there bool, err error) {
	out, err := h.script(ctx, "upload_begin.sh", nil, a.SHA256)
	if err != nil {
		return false, err
	}
	if out == "there\n" {
		return true, nil
	}
	var have, free int64
	if _, err := fmt.Sscanf(out, "missing %d %d\n", &have, &free); err != nil {
		return false, fmt.Errorf("host %s: space for an upload: %q", h.name, out)
	}
	if free <<= 10; a.Size-have > free {
		return false, fleet.Permanent(fmt.Errorf("host %s: no space for the archive: %d bytes are missing of it, and %d are free", h.name, a.Size-have, free))
	}
	return false, nil
}

// uploadFailed looks whether a failed upload ran out of space, which SFTP does
// not tell.
func (h *Host) uploadFailed(ctx context.Context, a fleet.Archive, err error) error {
	if h.conn.Err() != nil || ctx.Err() != nil {
		return err
	}
	if _, full := h.beginUpload(ctx, a); full != nil {
		return full
	}
	return explain(h.name, "upload", err)
}

// damaged finds out whether an archive arrived otherwise than it should because
// it is otherwise here, which no repetition changes.
func damaged(ctx context.Context, a fleet.Archive, content io.ReaderAt, err error) error {
	if ctx.Err() != nil {
		return err
	}
	digest := sha256.New()
	if _, copyErr := io.Copy(digest, io.NewSectionReader(content, 0, a.Size)); copyErr != nil {
		return fleet.Permanent(fmt.Errorf("read the archive %s: %w", a.SHA256, copyErr))
	}
	if is := hex.EncodeToString(digest.Sum(nil)); is != a.SHA256 {
		return fleet.Permanent(fmt.Errorf("the deployer's own copy of the archive %s is damaged: its digest is %s; upload it again", a.SHA256, is))
	}
	return err
}
