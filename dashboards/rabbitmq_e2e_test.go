//go:build e2e

package dashboards_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rabbitMQ asks what RabbitMQ's dashboards ask, as far as it matters: each metric
// by its labels, joined as they join.
func (s *scene) rabbitMQ(t *testing.T) {
	for _, q := range rabbitMQQueries(s.nodes[0].Name) {
		n, err := s.series(t, q)
		require.NoError(t, err, q)
		require.NotZero(t, n, q)
	}
}

func rabbitMQQueries(node string) []string {
	identity := `rabbitmq_identity_info{rabbitmq_cluster="shop",namespace="",rabbitmq_endpoint="aggregated",rabbitmq_node="` + node + `"}`
	var queries []string
	for _, metric := range []string{
		`erlang_vm_allocators{usage="blocks_size"}`, `erlang_vm_allocators{usage="carriers_size"}`, `erlang_vm_allocators{usage="blocks"}`,
		`erlang_vm_allocators{usage="carriers",kind="mbcs"}`, `erlang_vm_allocators{alloc="eheap_alloc",kind="mbcs_pool"}`,
		`rabbitmq_process_resident_memory_bytes`,
		`erlang_vm_dist_node_state{peer!~"rabbitmqcli.*"}`, `erlang_vm_dist_node_queue_size_bytes`,
		`rate(erlang_vm_dist_send_bytes[1m])`, `rate(erlang_vm_dist_recv_bytes[1m])`, `rate(erlang_vm_dist_send_cnt[1m])`, `rate(erlang_vm_dist_recv_cnt[1m])`,
		`erlang_vm_dist_port_memory_bytes`, `erlang_vm_dist_port_queue_size_bytes`,
		`erlang_vm_dist_proc_status{type="dist"}`, `erlang_vm_dist_proc_message_queue_len{type="dist"}`,
		`erlang_vm_dist_proc_memory_bytes{type="dist"}`, `rate(erlang_vm_dist_proc_reductions{type="dist"}[1m])`,
	} {
		queries = append(queries, metric+` * on (instance, job) group_left (rabbitmq_cluster, rabbitmq_node) `+identity)
	}
	for _, metric := range []string{
		"statistics_run_queues_length", "statistics_dirty_io_run_queue_length", "statistics_dirty_cpu_run_queue_length",
		"statistics_context_switches", "statistics_reductions_total", "statistics_runtime_milliseconds",
		"ets_limit", "ets_tables", "dets_tables", "process_limit", "process_count", "statistics_run_queues_length_total",
		`memory_bytes_total{kind="processes"}`, `memory_system_bytes_total{usage="atom"}`, `memory_system_bytes_total{usage="binary"}`,
		`memory_system_bytes_total{usage="code"}`, `memory_system_bytes_total{usage="ets"}`,
		"statistics_bytes_output_total", "statistics_bytes_received_total",
		"statistics_garbage_collection_number_of_gcs", "statistics_garbage_collection_bytes_reclaimed", "port_limit", "port_count",
	} {
		queries = append(queries, "erlang_vm_"+metric)
	}
	return append(queries, "process_open_fds", "process_max_fds")
}

// rabbitMQFolder is the variable of the environment with the folder of RabbitMQ's
// dashboards: deps/rabbitmq_prometheus/docker/grafana/dashboards of its sources.
// They are another project's, and not copied here.
const rabbitMQFolder = "RABBITMQ_DASHBOARDS"

// rabbitMQJSON runs every query of RabbitMQ's own dashboards about Erlang as they
// are published, for all values that their variables have in the scene, and holds
// that rabbitMQ asks for every metric that they ask for.
func (s *scene) rabbitMQJSON(t *testing.T) {
	folder := os.Getenv(rabbitMQFolder)
	if folder == "" {
		t.Skip(rabbitMQFolder + " does not say where RabbitMQ's dashboards are")
	}
	var known []string
	for _, q := range rabbitMQQueries("") {
		known = append(known, metricsOf(t, "what is asked for without the JSON", q)...)
	}
	for name, least := range map[string]int{"Erlang-Memory-Allocators": 20, "Erlang-Distribution": 15, "Erlang-BEAM": 20} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(folder, name+".json"))
			require.NoError(t, err)
			var board rabbitMQBoard
			require.NoError(t, json.Unmarshal(text, &board))
			values := s.rabbitMQValues(t, board)
			asked := 0
			for _, expr := range expressions(board.Panels) {
				found := 0
				for _, query := range fill(expr, values) {
					// The utilisation of what an allocator does not have is 0/0.
					values, err := samples(t, s.prometheus, query)
					require.NoError(t, err, query)
					found += len(values)
				}
				require.NotZero(t, found, "no data: %s", expr)
				asked++
				for _, metric := range metricsOf(t, name, fill(expr, values)[0]) {
					require.Contains(t, known, metric, "rabbitMQ does not ask for it")
				}
			}
			require.GreaterOrEqual(t, asked, least)
		})
	}
}

type rabbitMQBoard struct {
	Panels     []rabbitMQPanel
	Templating struct {
		List []struct {
			Name, Type string
			Query      any
		}
	}
}

type rabbitMQPanel struct {
	Targets []struct{ Expr string }
	Panels  []rabbitMQPanel
}

// expressions lists the queries of panels and of those in their rows, each once.
func expressions(panels []rabbitMQPanel) []string {
	var all []string
	for _, p := range panels {
		for _, target := range p.Targets {
			if target.Expr != "" && !slices.Contains(all, target.Expr) {
				all = append(all, target.Expr)
			}
		}
		for _, expr := range expressions(p.Panels) {
			if !slices.Contains(all, expr) {
				all = append(all, expr)
			}
		}
	}
	return all
}

var labelValues = regexp.MustCompile(`^label_values\((.+),\s*(\w+)\)$`)

// rabbitMQValues finds the values of a dashboard's variables as Grafana does, in
// their order: those before are in the queries of those behind, with their first
// value.
func (s *scene) rabbitMQValues(t *testing.T, board rabbitMQBoard) map[string][]string {
	values := map[string][]string{"__rate_interval": {"1m"}, "__interval": {"1m"}}
	for _, v := range board.Templating.List {
		question, _ := v.Query.(string)
		if inner, ok := v.Query.(map[string]any); ok {
			question, _ = inner["query"].(string)
		}
		switch v.Type {
		case "datasource":
		case "interval":
			first, _, _ := strings.Cut(question, ",")
			values[v.Name] = []string{first}
		default:
			parts := labelValues.FindStringSubmatch(question)
			require.NotNil(t, parts, question)
			values[v.Name] = s.labelValues(t, fill(parts[1], values)[0], parts[2])
			if len(values[v.Name]) == 0 {
				values[v.Name] = []string{""}
			}
		}
	}
	return values
}

// fill replaces the variables in a text, with each combination of their values.
func fill(text string, values map[string][]string) []string {
	place := variables.FindStringSubmatch(text)
	if place == nil {
		return []string{text}
	}
	var all []string
	for _, value := range values[place[1]] {
		all = append(all, fill(strings.ReplaceAll(text, place[0], value), values)...)
	}
	return all
}
