package engine

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/erlops/erlops/deployer/fleet"
	"github.com/erlops/erlops/deployer/store"
)

// doctorTime bounds one question of Doctor.
const doctorTime = 30 * time.Second

// Doctor asks everything that is needed whether it is well, all at the same
// time, and answers in a fixed order.
func (e *Engine) Doctor(ctx context.Context) ([]fleet.Finding, error) {
	records, err := e.Providers(ctx)
	if err != nil {
		return nil, err
	}
	checks := append([]Check{{"storage", e.checkJournal}}, e.opts.Checks...)
	for _, record := range records {
		checks = append(checks, Check{fmt.Sprintf("provider %q", record.Name), func(ctx context.Context) (string, error) {
			p, err := e.provider(record)
			if err != nil {
				return "", err
			}
			return "it can be used", p.Check(ctx)
		}})
	}
	checks = append(checks, Check{"archives", e.checkArchives}, Check{"nodes", e.checkNodes})
	findings := make([]fleet.Finding, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, doctorTime)
			defer cancel()
			message, err := c.Run(ctx)
			findings[i] = fleet.Finding{Subject: c.Subject, OK: err == nil, Message: message}
			if err != nil {
				findings[i].Message = err.Error()
			}
		})
	}
	wg.Wait()
	return findings, nil
}

// checkJournal writes, because that is what a full disk forbids.
func (e *Engine) checkJournal(ctx context.Context) (string, error) {
	err := e.db.Update(ctx, func(tx *store.Tx) error {
		return tx.Append(fleet.Entry{Type: fleet.EntryRequest, Kind: fleet.KindFleet, Action: "doctor", Result: fleet.ResultOK})
	})
	return "it takes entries", err
}

func (e *Engine) checkArchives(ctx context.Context) (string, error) {
	releases, err := e.Releases(ctx)
	if err != nil {
		return "", err
	}
	n := 0
	for _, r := range releases {
		for _, a := range r.Archives {
			size, complete, err := e.opts.Archives.Offset(a.SHA256)
			if err != nil {
				return "", err
			}
			if !complete || size != a.Size {
				return "", fmt.Errorf("the archive %s of release %q for %s is not there: upload it again", a.SHA256, r.Name, a.Platform)
			}
			n++
		}
	}
	return fmt.Sprintf("all %d are there", n), nil
}

func (e *Engine) checkNodes(ctx context.Context) (string, error) {
	nodes, err := e.Nodes(ctx, fleet.NodeFilter{})
	if err != nil {
		return "", err
	}
	failed, pending := 0, 0
	for _, n := range nodes {
		if n.State == fleet.StateError {
			failed++
		}
		if n.Registration == fleet.RegistrationPending {
			pending++
		}
	}
	if failed > 0 || pending > 0 {
		return "", fmt.Errorf("of %d nodes %d are in %s and %d wait for the exporter: see erl-deploy status", len(nodes), failed, fleet.StateError, pending)
	}
	return fmt.Sprintf("%d, none of them in %s", len(nodes), fleet.StateError), nil
}
