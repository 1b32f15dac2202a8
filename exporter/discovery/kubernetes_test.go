//go:build sd_cloud

package discovery_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/prometheus/common/config"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/erlops/erlops/exporter/discovery"
)

// event is a line of a watch.
type event struct {
	Type   string `json:"type"`
	Object any    `json:"object"`
	pod    *corev1.Pod
}

// fakeKubernetes serves the pods of one namespace as the API server does: lists
// with a version, and watches from a version on, which may begin with all that
// there is. It allows what a Role allows and nothing else.
type fakeKubernetes struct {
	*httptest.Server
	role rbacv1.Role

	mu      sync.Mutex
	changed chan struct{}
	version int
	pods    map[string]*corev1.Pod
	history []event // by version, from 1 on
	refused []string
}

func newFakeKubernetes(t *testing.T, role rbacv1.Role) *fakeKubernetes {
	t.Helper()
	f := &fakeKubernetes{role: role, changed: make(chan struct{}), pods: map[string]*corev1.Pod{}}
	f.Server = httptest.NewServer(f)
	f.Config.Handler = f
	t.Cleanup(f.Close)
	return f
}

func (f *fakeKubernetes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	verb := "list"
	if query.Get("watch") != "" {
		verb = "watch"
	}
	if r.URL.Path != "/api/v1/namespaces/"+f.role.Namespace+"/pods" || !slices.Contains(f.role.Rules[0].Resources, "pods") || !slices.Contains(f.role.Rules[0].Verbs, verb) {
		f.mu.Lock()
		f.refused = append(f.refused, verb+" "+r.URL.String())
		f.mu.Unlock()
		w.WriteHeader(http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if verb == "list" {
		_ = json.NewEncoder(w).Encode(f.list(query))
		return
	}
	f.watch(w, r)
}

func selected(query url.Values, pod *corev1.Pod) bool {
	selector, err := labels.Parse(query.Get("labelSelector"))
	return err == nil && selector.Matches(labels.Set(pod.Labels))
}

func (f *fakeKubernetes) list(query url.Values) *corev1.PodList {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := &corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}}
	list.ResourceVersion = strconv.Itoa(f.version)
	for _, pod := range f.pods {
		if selected(query, pod) {
			list.Items = append(list.Items, *pod)
		}
	}
	return list
}

func (f *fakeKubernetes) watch(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	stream := json.NewEncoder(w)
	send := func(e event) { _ = stream.Encode(e) }
	since, _ := strconv.Atoi(query.Get("resourceVersion"))
	f.mu.Lock()
	defer f.mu.Unlock()
	if query.Get("sendInitialEvents") == "true" {
		for _, pod := range f.pods {
			if selected(query, pod) {
				send(event{Type: "ADDED", Object: pod})
			}
		}
		end := &corev1.Pod{TypeMeta: metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"}}
		end.ResourceVersion = strconv.Itoa(f.version)
		end.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
		send(event{Type: "BOOKMARK", Object: end})
		since = f.version
	}
	for {
		for _, e := range f.history[since:] {
			if selected(query, e.pod) {
				send(e)
			}
		}
		since = f.version
		_ = http.NewResponseController(w).Flush()
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-changed:
		case <-r.Context().Done():
		}
		f.mu.Lock()
		if r.Context().Err() != nil {
			return
		}
	}
}

// put adds or changes a pod, and remove takes it away.
func (f *fakeKubernetes) put(pod *corev1.Pod) { f.change(pod, false) }

func (f *fakeKubernetes) remove(pod *corev1.Pod) { f.change(pod, true) }

func (f *fakeKubernetes) change(pod *corev1.Pod, gone bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version++
	pod.ResourceVersion = strconv.Itoa(f.version)
	kind := "ADDED"
	switch _, known := f.pods[pod.Name]; {
	case gone:
		kind = "DELETED"
		delete(f.pods, pod.Name)
	case known:
		kind = "MODIFIED"
		fallthrough
	default:
		f.pods[pod.Name] = pod
	}
	f.history = append(f.history, event{kind, pod, pod})
	close(f.changed)
	f.changed = make(chan struct{})
}

// pod is as a StatefulSet or a ReplicaSet makes it: beside the node runs a
// container without ports, as a mesh adds it.
func pod(namespace, name, address string, podLabels map[string]string) *corev1.Pod {
	ports := []corev1.ContainerPort{{Name: "epmd", ContainerPort: 4369}, {Name: "distribution", ContainerPort: 25672}, {Name: "http", ContainerPort: 4000}}
	return &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: podLabels},
		Spec: corev1.PodSpec{
			NodeName:       "machine-1",
			InitContainers: []corev1.Container{{Name: "prepare"}},
			Containers:     []corev1.Container{{Name: "node", Ports: ports}, {Name: "proxy"}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: address},
	}
}

// connect points a group at the fake, as a configuration would from outside the
// cluster.
func (f *fakeKubernetes) connect(t *testing.T, g discovery.Group) {
	t.Helper()
	u, err := url.Parse(f.URL)
	require.NoError(t, err)
	g.SD.Kubernetes[0].APIServer = config.URL{URL: u}
}

// objects decodes the manifests in a file as strictly as the API server does.
func objects(t *testing.T, name string) []any {
	t.Helper()
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	var all []any
	for i, doc := range documents(t, name) {
		text, err := json.Marshal(doc)
		require.NoError(t, err)
		object, _, err := decoder.Decode(text, nil, nil)
		require.NoError(t, err, "%s, document %d", name, i)
		all = append(all, object)
	}
	return all
}

func TestManifestsAreOfKubernetes(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"nodes", "exporter-dns", "exporter-api", "network-policy"} {
		objects(t, "examples/kubernetes/"+name+".yaml")
	}
}

func documentedRole(t *testing.T) rbacv1.Role {
	t.Helper()
	for _, object := range objects(t, "examples/kubernetes/exporter-api.yaml") {
		if role, ok := object.(*rbacv1.Role); ok {
			return *role
		}
	}
	require.Fail(t, "no Role")
	return rbacv1.Role{}
}

func TestKubernetes(t *testing.T) {
	t.Parallel()
	f := newFakeKubernetes(t, documentedRole(t))
	app := map[string]string{"app.kubernetes.io/name": "shop"}
	shop := func(n int) *corev1.Pod {
		return pod("shop", fmt.Sprintf("shop-%d", n), fmt.Sprintf("10.1.0.%d", n+4), app)
	}
	f.put(shop(0))
	f.put(shop(1))
	f.put(pod("shop", "erl-exporter-5d8f", "10.1.0.99", map[string]string{"app.kubernetes.io/name": "erl-exporter"}))
	ended := pod("shop", "shop-9", "10.1.0.98", app)
	ended.Status.Phase = corev1.PodSucceeded
	f.put(ended)
	starting := shop(2)
	starting.Status = corev1.PodStatus{Phase: corev1.PodPending}
	f.put(starting)

	_, g := recipe(t, "examples/kubernetes/exporter-api.yaml", "shop")
	f.connect(t, g)
	sets := watch(t, g)
	name := func(n int) string { return fmt.Sprintf("shop@shop-%d.shop-nodes.shop.svc.cluster.local", n) }
	require.Equal(t, discovery.Target{
		Node: name(1), Labels: map[string]string{"pod": "shop-1", "namespace": "shop", "machine": "machine-1"}, Group: "shop", Source: "kubernetes",
	}, await(t, sets, name(0), name(1))[1])

	f.put(shop(2))
	await(t, sets, name(0), name(1), name(2))
	f.remove(shop(0))
	await(t, sets, name(1), name(2))
	f.mu.Lock()
	defer f.mu.Unlock()
	require.Empty(t, f.refused, "the Role in the manifest is enough")
}

// The other recipes by the API, each with the pods that it is for.
func TestKubernetesRecipes(t *testing.T) {
	t.Parallel()
	for group, tc := range map[string]struct {
		pod  *corev1.Pod
		want discovery.Target
	}{
		"erlang": {
			pod("shop", "web-0", "10.1.0.4", map[string]string{"example.org/erlang": "true", "app.kubernetes.io/name": "web", "app.kubernetes.io/version": "1.4.0", "example.org/cookie": "billing"}),
			discovery.Target{Node: "web@web-0.web-nodes.shop.svc.cluster.local", CookieRef: "billing", Labels: map[string]string{"version": "1.4.0", "namespace": "shop"}},
		},
		"worker-pods": {
			pod("shop", "worker-7c9d-x2x", "10.1.0.5", map[string]string{"app.kubernetes.io/name": "worker"}),
			discovery.Target{Node: "worker@10.1.0.5", Labels: map[string]string{"pod": "worker-7c9d-x2x"}},
		},
		"rabbitmq": {
			pod("mq", "orders-server-0", "10.1.0.6", map[string]string{"app.kubernetes.io/name": "orders", "app.kubernetes.io/component": "rabbitmq"}),
			discovery.Target{Node: "rabbit@orders-server-0.orders-nodes.mq", Labels: map[string]string{"family": "orders"}},
		},
	} {
		t.Run(group, func(t *testing.T) {
			t.Parallel()
			c, g := recipe(t, "kubernetes.md", group)
			role := documentedRole(t)
			role.Namespace = tc.pod.Namespace
			f := newFakeKubernetes(t, role)
			f.put(tc.pod)
			f.connect(t, g)
			tc.want.Group, tc.want.Source = group, "kubernetes"
			require.Equal(t, []discovery.Target{tc.want}, await(t, watch(t, g), tc.want.Node))
			for _, group := range c.Groups() {
				_, err := group.Cookie(tc.want.Node, tc.want.CookieRef)
				require.NoError(t, err)
			}
		})
	}
}
