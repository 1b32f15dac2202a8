package metrics

import (
	"cmp"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
)

// metaPrefix starts the labels that are there for relabelling only.
const metaPrefix = "__meta_erlang_"

// targetGroup is an element of Prometheus's HTTP service discovery.
type targetGroup struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// SD serves HTTP service discovery: a target for every known node, in
// whatever state, which Prometheus scrapes through Probe. The list is always
// full; without nodes it is empty.
func (h *Handler) SD() http.Handler {
	return h.scrape("sd", h.sd)
}

func (h *Handler) sd(w http.ResponseWriter, r *http.Request) {
	settings := h.settings.Load()
	base := settings.ExternalURL
	if base == nil {
		base = requestURL(r)
	}
	groups := make([]targetGroup, 0)
	for _, n := range h.fleet.Nodes() {
		groups = append(groups, targetGroup{
			Targets: []string{base.Host},
			Labels:  targetLabels(n, base, settings.ExternalLabels),
		})
	}
	slices.SortFunc(groups, func(a, b targetGroup) int {
		return cmp.Compare(a.Labels["instance"], b.Labels["instance"])
	})
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(groups) // the reader may have gone
}

// requestURL is the exporter's address as the one who asks sees it.
func requestURL(r *http.Request) *url.URL {
	u := &url.URL{Scheme: "http", Host: r.Host}
	if r.TLS != nil {
		u.Scheme = "https"
	}
	if u.Host == "" { // HTTP/1.0 needs no Host
		if addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
			u.Host = addr.String()
		}
	}
	return u
}

// targetLabels are the labels of a node's target. Those that make the scrape
// work win over those of the node, and these over the external ones.
func targetLabels(n Node, base *url.URL, external map[string]string) map[string]string {
	labels := map[string]string{
		"__scheme__":          base.Scheme,
		"__metrics_path__":    path.Join("/", base.Path, "probe"),
		"__param_target":      n.Name,
		"instance":            n.Name,
		"node":                n.Name,
		metaPrefix + "node":   n.Name,
		metaPrefix + "id":     n.ID,
		metaPrefix + "family": n.Family,
		metaPrefix + "state":  string(n.State),
	}
	if n.Family != "" {
		labels["family"] = n.Family
	}
	if name, host, ok := strings.Cut(n.Name, "@"); ok {
		labels[metaPrefix+"name"], labels[metaPrefix+"host"] = name, host
	}
	addLabels(labels, metaPrefix, n.Meta)
	addLabels(labels, "", n.Labels)
	addLabels(labels, "", external)
	for k, v := range labels {
		labels[k] = strings.ToValidUTF8(v, "\uFFFD")
	}
	return labels
}

// addLabels adds those labels whose names are not taken. Names that start
// with __ are Prometheus's own but for __meta_.
func addLabels(labels map[string]string, prefix string, more map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(more)) {
		name := labelName(prefix + k)
		if strings.HasPrefix(name, "__") && !strings.HasPrefix(name, "__meta_") {
			continue
		}
		if _, taken := labels[name]; !taken {
			labels[name] = more[k]
		}
	}
}
