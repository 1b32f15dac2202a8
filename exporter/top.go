package exporter

import (
	"context"
	"strconv"
	"strings"

	"github.com/erlops/erlops/exporter/api"
	"github.com/erlops/erlops/exporter/metrics"
	"github.com/erlops/erlops/exporter/snapshot"
)

// The metrics that lists of what stands out are made of.
var (
	topProcesses = map[string]api.TopProcessBy{
		"erlang_vm_process_top_memory_bytes":      api.TopProcessByMemory,
		"erlang_vm_process_top_message_queue_len": api.TopProcessByMessageQueueLen,
		"erlang_vm_process_top_reductions_rate":   api.TopProcessByReductions,
		"erlang_vm_process_top_binary_bytes":      api.TopProcessByBinary,
	}
	topTables = map[string]api.TopTableBy{
		"erlang_vm_ets_top_memory_bytes": api.TopTableByMemory,
		"erlang_vm_ets_top_objects":      api.TopTableByObjects,
	}
)

// Top implements [api.Live].
func (b liveBackend) Top(ctx context.Context, node string) (api.NodeTop, error) {
	read, ok := b.pages.Points(ctx, node, metrics.PointsRequest{Collectors: []string{snapshot.Processes, snapshot.ETS}})
	switch {
	case !ok:
		return api.NodeTop{}, api.Errorf(api.CodeNotFound, "node %q is not known", node)
	case read.Taken.IsZero():
		return api.NodeTop{}, api.Errorf(api.CodeUnavailable, "node %q cannot be read: it is %s. %s", node, read.Node.State, read.Node.LastError)
	}
	top := api.NodeTop{
		Node: node, Time: read.Taken, Processes: []api.TopProcess{}, Tables: []api.TopTable{}, Mailboxes: []api.MailboxCount{},
	}
	for _, p := range read.Points {
		label := map[string]string{}
		for _, l := range p.Labels {
			label[l.Name] = l.Value
		}
		rank, _ := strconv.Atoi(label["rank"])
		if by, ok := topProcesses[p.Name]; ok {
			top.Processes = append(top.Processes, api.TopProcess{By: by, Rank: rank, Name: label["name"], InitialCall: label["initial_call"], Value: p.Value})
		}
		if by, ok := topTables[p.Name]; ok {
			top.Tables = append(top.Tables, api.TopTable{By: by, Rank: rank, Table: label["table"], Owner: label["owner"], Value: p.Value})
		}
		switch {
		case p.Name == "erlang_vm_processes_with_mailbox_above":
			threshold, _ := strconv.Atoi(label["threshold"])
			top.Mailboxes = append(top.Mailboxes, api.MailboxCount{Threshold: threshold, Processes: int(p.Value)})
		case p.Name == "erlang_vm_process_scan_skipped":
			top.Skipped = p.Value > 0
		case strings.HasSuffix(p.Name, "_scrape_age_seconds") && label["collector"] == snapshot.Processes:
			top.AgeSeconds = p.Value
		}
	}
	return top, nil
}
