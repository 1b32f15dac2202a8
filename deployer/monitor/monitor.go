// Package monitor tells the exporter of nodes, and hears from it how they are.
package monitor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/erlops/erlops/deployer/engine"
	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/exporter/api/client"
)

// Options say which exporter it is.
type Options struct {
	Client client.ClientWithResponsesInterface
	// Stream is the same client for the stream of events; its http.Client must
	// have no timeout.
	Stream client.ClientInterface
	// CookieRef names a target group of the exporter's configuration that has
	// the nodes' cookie; empty to send the cookie itself, which the exporter
	// stores encrypted.
	CookieRef string
	// Timeout bounds one request; 10 s.
	Timeout time.Duration
	// Resync is how often all nodes are listed, in case an event was missed;
	// 15 s.
	Resync time.Duration
}

// Exporter is an exporter as the engine sees it.
type Exporter struct{ Options }

var _ engine.Monitor = (*Exporter)(nil)

// New makes it; nothing is asked yet.
func New(o Options) *Exporter {
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Resync <= 0 {
		o.Resync = 15 * time.Second
	}
	return &Exporter{o}
}

// Register makes a node known to the exporter. One that it knows from
// elsewhere, such as its own discovery, is left to that.
func (e *Exporter) Register(ctx context.Context, n engine.MonitorNode) error {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	known, err := e.Client.GetNodeWithResponse(ctx, n.Name)
	switch err := client.Check(known, err); {
	case isStatus(err, http.StatusNotFound):
		return e.add(ctx, n)
	case err != nil:
		return e.failed("ask for", n.Name, err)
	case known.JSON200 == nil || !known.JSON200.Registered, same(*known.JSON200, n):
		return nil
	}
	// It cannot be changed, and a cookie is not shown: it is made anew.
	if err := e.Deregister(ctx, n.Name); err != nil {
		return err
	}
	return e.add(ctx, n)
}

// same tells whether the exporter knows of a node what we would tell it, as far
// as it shows. One that it cannot attach may have a cookie of before.
func same(known client.Node, n engine.MonitorNode) bool {
	if known.State == client.StateRefused || known.Family != n.Family || known.EPMD != n.EPMD {
		return false
	}
	for name, value := range n.Labels {
		if known.Labels[name] != value {
			return false
		}
	}
	return true
}

func (e *Exporter) add(ctx context.Context, n engine.MonitorNode) error {
	r := client.NodeRegistration{Name: n.Name, EPMD: n.EPMD, Family: n.Family, Labels: maps.Clone(n.Labels), CookieRef: e.CookieRef}
	if e.CookieRef == "" {
		r.Cookie = client.Secret(n.Cookie)
	}
	answer, err := e.Client.AddNodeWithResponse(ctx, r)
	if err := client.Check(answer, err); err != nil && !isStatus(err, http.StatusConflict) {
		return e.failed("register", n.Name, err)
	}
	return nil
}

// Deregister makes the exporter forget a node. One that was not registered, but
// discovered, is not ours to remove.
func (e *Exporter) Deregister(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	answer, err := e.Client.RemoveNodeWithResponse(ctx, name)
	err = client.Check(answer, err)
	if err == nil || isStatus(err, http.StatusNotFound) || isStatus(err, http.StatusConflict) {
		return nil
	}
	return e.failed("deregister", name, err)
}

// Check asks whether the exporter answers and lets us in.
func (e *Exporter) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	answer, err := e.Client.ListNodesWithResponse(ctx, &client.ListNodesParams{Limit: limit(1)})
	if err := client.Check(answer, err); err != nil {
		return e.failed("list", "nodes", err)
	}
	return nil
}

func limit(n int32) *int32 { return &n }

// isStatus tells whether the exporter itself answered so, and not something
// else that was asked by a wrong URL.
func isStatus(err error, status int) bool {
	var p *client.ProblemError
	return errors.As(err, &p) && p.Problem.Status == status && p.Type != ""
}

// failed says what was tried. Only a refusal is one; all else may pass.
func (e *Exporter) failed(what, name string, err error) error {
	var p *client.ProblemError
	if errors.As(err, &p) && p.Problem.Status < http.StatusInternalServerError && p.Problem.Status != http.StatusTooManyRequests {
		return fmt.Errorf("%s %q at the exporter: %w", what, name, err)
	}
	return fleet.Errorf(fleet.ErrUnavailable, "%s %q at the exporter: %w", what, name, err)
}
