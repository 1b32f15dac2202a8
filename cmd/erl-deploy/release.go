package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/internal/clikit"
)

func (p *program) releaseCommand() *cli.Command {
	return &cli.Command{
		Name: "release", Usage: "what runs on nodes",
		Subcommands: []*cli.Command{
			{
				Name: "add", Usage: "upload a release", ArgsUsage: "NAME", Action: p.with(p.addRelease),
				Flags: []cli.Flag{
					&cli.StringSliceFlag{Name: "archive", Required: true, Usage: "`FILE[,os=OS][,arch=ARCH]`, a .tar.gz, for hosts of that kind; repeatable"},
					&cli.StringFlag{Name: "start", Required: true, Usage: "`COMMAND` that starts a node, such as \"bin/riak start\""},
					&cli.StringFlag{Name: "stop", Required: true, Usage: "`COMMAND` that stops a node"},
					&cli.StringFlag{Name: "ping", Usage: "`COMMAND` that must succeed on a started node"},
					&cli.PathFlag{Name: "cookie-file", Required: true, Usage: "`FILE` with the cookie of the nodes"},
					&cli.StringSliceFlag{Name: "template", Usage: "`PATH` of a file in the archive in which {{ node_name }} is replaced; repeatable"},
					&cli.StringFlag{Name: "description", Usage: "`TEXT` for people"},
				},
			},
			{Name: "list", Aliases: []string{"ls"}, Usage: "list releases", Action: p.with(p.listReleases)},
			{Name: "show", Usage: "show a release", ArgsUsage: "RELEASE", Action: p.with(p.showRelease)},
			{
				Name: "remove", Aliases: []string{"rm"}, Usage: "remove a release that no family has", ArgsUsage: "RELEASE",
				Flags: []cli.Flag{yesFlag()}, Action: p.with(p.removeRelease),
			},
		},
	}
}

func (p *program) addRelease(c *cli.Context, b *connection) error {
	name, err := clikit.One(c, "name")
	if err != nil {
		return err
	}
	r := fleet.Release{
		Name: name, Description: c.String("description"), Templates: c.StringSlice("template"),
		StartCommand: c.String("start"), StopCommand: c.String("stop"), PingCommand: c.String("ping"),
	}
	if r.Cookie, err = readSecret("cookie-file", c.Path("cookie-file")); err != nil {
		return err
	}
	for _, text := range c.StringSlice("archive") {
		file, fields, err := parseFields(text, true, "os", "arch")
		if err != nil {
			return err
		}
		archive, err := p.upload(c.Context, b, file)
		if err != nil {
			return err
		}
		archive.Platform = fleet.NewPlatform(fields["os"], fields["arch"])
		r.Archives = append(r.Archives, archive)
	}
	added, err := b.AddRelease(c.Context, r)
	if err != nil {
		return err
	}
	return p.printRelease(c, added)
}

const (
	// uploadAttempts is how often a broken upload is taken up again.
	uploadAttempts = 5
	// uploadPause is between two of them.
	uploadPause = time.Second
)

// upload brings an archive to the deployer, as far as it is not there yet, and
// takes up an upload that breaks.
func (p *program) upload(ctx context.Context, b *connection, path string) (fleet.Archive, error) {
	file, err := os.Open(path)
	if err != nil {
		return fleet.Archive{}, err
	}
	defer file.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, file)
	if err != nil {
		return fleet.Archive{}, fmt.Errorf("reading %q: %w", path, err)
	}
	archive := fleet.Archive{SHA256: hex.EncodeToString(sum.Sum(nil)), Size: size}
	for attempt := 1; ; attempt++ {
		err := p.uploadOnce(ctx, b, archive, file)
		if err == nil || !errors.Is(err, fleet.ErrUnavailable) || attempt == uploadAttempts {
			return archive, err
		}
		fmt.Fprintf(p.stderr, "upload of %s broke off, going on: %v\n", path, err)
		select {
		case <-ctx.Done():
			return archive, ctx.Err()
		case <-time.After(uploadPause):
		}
	}
}

func (p *program) uploadOnce(ctx context.Context, b *connection, a fleet.Archive, file *os.File) error {
	offset, complete, err := b.ArchiveOffset(ctx, a.SHA256)
	if err != nil || complete {
		return err
	}
	if offset > a.Size {
		return fleet.Errorf(fleet.ErrConflict, "the deployer has %d bytes of the archive %q, which has %d", offset, file.Name(), a.Size)
	}
	rest := &uploadReader{r: io.NewSectionReader(file, offset, a.Size-offset), p: p, name: file.Name(), done: offset, total: a.Size}
	_, err = b.AppendArchive(ctx, a.SHA256, offset, rest, true)
	rest.end()
	return err
}

// uploadReader shows how far an upload is.
type uploadReader struct {
	r           io.Reader
	p           *program
	name        string
	done, total int64
	shown       time.Time
}

// Read implements [io.Reader].
func (u *uploadReader) Read(b []byte) (int, error) {
	n, err := u.r.Read(b)
	u.done += int64(n)
	if now := u.p.now(); u.p.screen != nil && now.Sub(u.shown) > drawInterval {
		u.shown = now
		_ = u.p.screen.Draw(fmt.Sprintf("%s %s %s\n", u.name, bar(u.done, u.total), clikit.Bytes(u.total)))
	}
	return n, err
}

func (u *uploadReader) end() {
	if u.p.screen != nil {
		_ = u.p.screen.Leave("")
	}
}

func (p *program) listReleases(c *cli.Context, b *connection) error {
	if err := clikit.None(c); err != nil {
		return err
	}
	releases, err := b.Releases(c.Context)
	if err != nil {
		return err
	}
	return p.print(c, clikit.Listed(releases), func(w io.Writer) {
		clikit.Row(w, "NAME", "FOR", "SIZE", "AGE", "ID")
		for _, r := range releases {
			var platforms []string
			size := int64(0)
			for _, a := range r.Archives {
				platforms = append(platforms, a.Platform.String())
				size += a.Size
			}
			clikit.Row(w, r.Name, strings.Join(platforms, ", "), clikit.Bytes(size), clikit.Age(p.now(), r.CreatedAt), r.ID)
		}
	})
}

func (p *program) showRelease(c *cli.Context, b *connection) error {
	ref, err := clikit.One(c, "release")
	if err != nil {
		return err
	}
	r, err := b.Release(c.Context, ref)
	if err != nil {
		return err
	}
	return p.printRelease(c, r)
}

func (p *program) printRelease(c *cli.Context, r fleet.Release) error {
	return p.print(c, r, func(w io.Writer) {
		clikit.Fields(w, "Name", r.Name, "ID", r.ID, "Description", r.Description,
			"Start command", r.StartCommand, "Stop command", r.StopCommand, "Ping command", r.PingCommand,
			"Templates", strings.Join(r.Templates, ", "), "Cookie", r.Cookie.String())
		for _, a := range r.Archives {
			clikit.Fields(w, "Archive", fmt.Sprintf("%s, %s, %s", a.Platform, clikit.Bytes(a.Size), a.SHA256))
		}
		for _, warning := range r.Warnings {
			clikit.Fields(w, "Warning", warning)
		}
	})
}

func (p *program) removeRelease(c *cli.Context, b *connection) error {
	ref, err := clikit.One(c, "release")
	if err != nil {
		return err
	}
	r, err := b.Release(c.Context, ref)
	if err != nil {
		return err
	}
	if err := p.confirm(c, fmt.Sprintf("The release %q and its archives will be removed", r.Name), r.Name); err != nil {
		return err
	}
	return b.RemoveRelease(c.Context, r.ID)
}
