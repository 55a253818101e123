package app_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// clusterState is what the cluster of a case holds.
type clusterState struct {
	Jobs, Pods, Events []map[string]any
	Overrides          []*override
}

// override answers requests of one method on a path instead of the cluster.
type override struct {
	Method, Path string
	Answers      []answer
}

// cluster is as much of the Kubernetes API as the agent uses, in memory.
type cluster struct {
	*recorder
	overrides []*override

	lock    sync.Mutex
	version int
	objects map[string]map[string]map[string]any // resource, name
	watches map[chan string]string               // resource
}

var kinds = map[string][2]string{"jobs": {"batch/v1", "Job"}, "pods": {"v1", "Pod"}, "events": {"v1", "Event"}}

func newCluster(r *recorder, s clusterState) *cluster {
	c := &cluster{recorder: r, overrides: s.Overrides, objects: map[string]map[string]map[string]any{}, watches: map[chan string]string{}}
	for resource, objects := range map[string][]map[string]any{"jobs": s.Jobs, "pods": s.Pods, "events": s.Events} {
		c.objects[resource] = map[string]map[string]any{}
		for _, o := range objects {
			c.store(resource, o)
		}
	}
	return c
}

func (c *cluster) names(resource string) []string {
	c.lock.Lock()
	defer c.lock.Unlock()
	return slices.Sorted(maps.Keys(c.objects[resource]))
}

// store puts an object in, as the API server completes it. The lock is held.
func (c *cluster) store(resource string, object map[string]any) {
	c.version++
	meta := metadata(object)
	meta["resourceVersion"] = strconv.Itoa(c.version)
	if meta["uid"] == nil {
		meta["uid"] = fmt.Sprintf("00000000-0000-4000-8000-%012d", c.version)
		meta["creationTimestamp"] = time.Now().UTC().Format(time.RFC3339)
	}
	object["apiVersion"], object["kind"] = kinds[resource][0], kinds[resource][1]
	name, _ := meta["name"].(string)
	c.objects[resource][name] = object
	c.tell(resource, "ADDED", object)
}

func metadata(object map[string]any) map[string]any {
	meta, ok := object["metadata"].(map[string]any)
	if !ok {
		meta = map[string]any{}
		object["metadata"] = meta
	}
	return meta
}

func (c *cluster) tell(resource, event string, object map[string]any) {
	for w, watched := range c.watches {
		if watched == resource {
			w <- frame(event, object)
		}
	}
}

func frame(event string, object any) string {
	data, _ := json.Marshal(map[string]any{"type": event, "object": object})
	return string(data) + "\n"
}

var resourcePath = regexp.MustCompile(`^/(?:api/v1|apis/batch/v1)/namespaces/([^/]+)(?:/([a-z]+)(?:/([^/]+))?)?$`)

// RoundTrip implements http.RoundTripper.
func (c *cluster) RoundTrip(req *http.Request) (*http.Response, error) {
	e := exchange{API: "kubernetes", at: time.Now()}
	e.Request.Method, e.Request.Path = req.Method, req.URL.Path
	if req.Body != nil {
		if err := json.NewDecoder(req.Body).Decode(&e.Request.Body); err != nil {
			return nil, err
		}
	}
	if req.URL.Query().Get("watch") != "" {
		return c.watch(req)
	}
	e.Answer = c.answer(e, req)
	c.add(e)
	return e.Answer.response(req)
}

func (c *cluster) answer(e exchange, req *http.Request) answer {
	c.lock.Lock()
	defer c.lock.Unlock()
	if a, ok := c.overridden(e); ok {
		return a
	}
	parts := resourcePath.FindStringSubmatch(e.Request.Path)
	if parts == nil {
		return failure(http.StatusNotFound, "no such path: "+e.Request.Path)
	}
	resource, name := parts[2], parts[3]
	switch {
	case resource == "":
		return object(http.StatusOK, map[string]any{
			"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": parts[1], "uid": "namespace-" + parts[1]},
		})
	case req.Method == http.MethodPost:
		return c.create(resource, e.Request.Body)
	case name == "":
		return c.list(resource, req)
	}
	found := c.objects[resource][name]
	if found == nil {
		return failure(http.StatusNotFound, fmt.Sprintf("%s %q not found", resource, name))
	}
	if req.Method == http.MethodDelete {
		delete(c.objects[resource], name)
		c.tell(resource, "DELETED", found)
	}
	return object(http.StatusOK, found)
}

func (c *cluster) overridden(e exchange) (answer, bool) {
	for _, o := range c.overrides {
		if o.Method != e.Request.Method || len(o.Answers) == 0 || !regexp.MustCompile(o.Path).MatchString(e.Request.Path) {
			continue
		}
		a := o.Answers[0]
		o.Answers = o.Answers[1:]
		if a.Default != nil {
			return answer{}, false
		}
		if a.Message != "" {
			return failure(a.Status, a.Message), true
		}
		return a, true
	}
	return answer{}, false
}

func (c *cluster) create(resource string, body any) answer {
	o, _ := body.(map[string]any)
	o = clone(o)
	name, _ := metadata(o)["name"].(string)
	if c.objects[resource][name] != nil {
		return failure(http.StatusConflict, fmt.Sprintf("%s %q already exists", resource, name))
	}
	c.store(resource, o)
	return object(http.StatusCreated, o)
}

func (c *cluster) list(resource string, req *http.Request) answer {
	items := []any{}
	for _, name := range slices.Sorted(maps.Keys(c.objects[resource])) {
		if o := c.objects[resource][name]; selected(o, req) {
			items = append(items, o)
		}
	}
	return object(http.StatusOK, map[string]any{
		"apiVersion": kinds[resource][0], "kind": kinds[resource][1] + "List",
		"metadata": map[string]any{"resourceVersion": strconv.Itoa(c.version)}, "items": items,
	})
}

// selected knows the selectors that the agent uses: a label that exists, and one
// with one of several values.
func selected(o map[string]any, req *http.Request) bool {
	selector := req.URL.Query().Get("labelSelector")
	key, values, some := strings.Cut(selector, " in (")
	labels, _ := metadata(o)["labels"].(map[string]any)
	value, has := labels[key].(string)
	if some {
		return slices.Contains(strings.Split(strings.TrimSuffix(values, ")"), ","), value)
	}
	return selector == "" || has
}

// watch sends what is there, the bookmark that ends it, and then what changes.
func (c *cluster) watch(req *http.Request) (*http.Response, error) {
	resource := resourcePath.FindStringSubmatch(req.URL.Path)[2]
	events := make(chan string, 64)
	c.lock.Lock()
	c.watches[events] = resource
	if req.URL.Query().Get("sendInitialEvents") == "true" {
		for _, name := range slices.Sorted(maps.Keys(c.objects[resource])) {
			if o := c.objects[resource][name]; selected(o, req) {
				events <- frame("ADDED", o)
			}
		}
		events <- frame("BOOKMARK", map[string]any{
			"apiVersion": kinds[resource][0], "kind": kinds[resource][1], "metadata": map[string]any{
				"resourceVersion": strconv.Itoa(c.version), "annotations": map[string]any{"k8s.io/initial-events-end": "true"},
			},
		})
	}
	c.lock.Unlock()
	reader, writer := io.Pipe()
	go func() {
		defer writer.CloseWithError(io.EOF)
		for {
			select {
			case <-req.Context().Done():
				return
			case text := <-events:
				if _, err := io.WriteString(writer, text); err != nil {
					return
				}
			}
		}
	}()
	a := answer{}
	resp, err := a.response(req)
	resp.Body = reader
	return resp, err
}

func object(status int, o any) answer {
	data, _ := json.Marshal(o)
	return answer{Status: status, JSON: data}
}

var reasons = map[int]string{
	http.StatusForbidden: "Forbidden", http.StatusNotFound: "NotFound", http.StatusConflict: "AlreadyExists",
	http.StatusGone: "Expired", http.StatusUnprocessableEntity: "Invalid",
}

func failure(status int, message string) answer {
	return object(status, map[string]any{
		"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": status, "message": message,
		"reason": cmp.Or(reasons[status], "InternalError"),
	})
}

func clone(o map[string]any) map[string]any {
	var out map[string]any
	convert(o, &out)
	return out
}
