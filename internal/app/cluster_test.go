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

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
)

// clusterState is what the cluster of a case holds.
type clusterState struct {
	Jobs, Pods, Events []map[string]any
	Overrides          []*override
	Logs               map[string]string // by Pod
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
	logs      map[string]string
	missing   []string // rights
	reviewed  []string // rights that were asked for

	lock    sync.Mutex
	version int
	objects map[string]map[string]map[string]any // resource, namespace and name
	watches map[chan string]watched
}

// watched is what a watch asked for.
type watched struct {
	resource string
	request  *http.Request
}

var kinds = map[string][2]string{"jobs": {"batch/v1", "Job"}, "pods": {"v1", "Pod"}, "events": {"v1", "Event"}}

func newCluster(r *recorder, s clusterState) *cluster {
	c := &cluster{
		recorder: r, logs: s.Logs,
		objects: map[string]map[string]map[string]any{"jobs": {}, "pods": {}, "events": {}}, watches: map[chan string]watched{},
	}
	for _, o := range s.Overrides {
		c.overrides = append(c.overrides, new(*o)) // its answers are consumed
	}
	for _, o := range s.Jobs {
		o = clone(o)
		conclude(o)
		c.store("jobs", o)
	}
	for _, o := range s.Pods {
		o = clone(o)
		c.adopt(o)
		c.store("pods", o)
	}
	for _, o := range s.Events {
		o = clone(o)
		c.concern(o)
		c.store("events", o)
	}
	return c
}

// The objects of a case are cut down to what the reference reads. What a real
// cluster would say of them besides is added here: the condition that ends a Job,
// the owner of a Pod, the UID of what an event is about.

// conclude says what the Job controller does: a Job with a Pod that succeeded is
// Complete, one that failed without another Pod on its way is Failed.
func conclude(job map[string]any) {
	status, _ := job["status"].(map[string]any)
	if status == nil || status["conditions"] != nil {
		return
	}
	end := ""
	switch count := func(name string) bool { n, _ := status[name].(float64); return n > 0 }; {
	case count("succeeded"):
		end = "Complete"
	case count("failed") && !count("active"):
		end = "Failed"
	}
	if end != "" {
		status["conditions"] = []any{map[string]any{
			"type": end, "status": "True", "lastTransitionTime": time.Now().UTC().Format(time.RFC3339), "reason": map[string]string{"Failed": "BackoffLimitExceeded"}[end],
		}}
	}
}

func (c *cluster) adopt(pod map[string]any) {
	specify(pod)
	meta := metadata(pod)
	own, _ := meta["labels"].(map[string]any)
	if meta["ownerReferences"] != nil || own == nil {
		return
	}
	for _, job := range c.objects["jobs"] {
		of := metadata(job)
		identified, _ := of["labels"].(map[string]any)
		mine := own["job-name"] == of["name"]
		for _, key := range []string{"prefect.io/identifier", "identifier"} {
			mine = mine || own["job-name"] == nil && own[key] != nil && own[key] == identified[key]
		}
		if mine && meta["namespace"] == of["namespace"] {
			meta["ownerReferences"] = []any{map[string]any{
				"apiVersion": "batch/v1", "kind": "Job", "name": of["name"], "uid": of["uid"], "controller": true,
			}}
		}
	}
}

// specify gives a Pod a container for each status.
func specify(pod map[string]any) {
	spec, _ := pod["spec"].(map[string]any)
	status, _ := pod["status"].(map[string]any)
	if spec == nil || status == nil {
		return
	}
	for in, of := range map[string]string{"containerStatuses": "containers", "initContainerStatuses": "initContainers"} {
		statuses, _ := status[in].([]any)
		specs, _ := spec[of].([]any)
		for _, s := range statuses {
			name := s.(map[string]any)["name"]
			if !slices.ContainsFunc(specs, func(c any) bool { return c.(map[string]any)["name"] == name }) {
				specs = append(specs, map[string]any{"name": name})
			}
		}
		spec[of] = specs
	}
}

func (c *cluster) concern(event map[string]any) {
	about, _ := event["involvedObject"].(map[string]any)
	resource := strings.ToLower(text(about["kind"])) + "s"
	if o := c.objects[resource][text(about["namespace"])+"/"+text(about["name"])]; o != nil && about["uid"] == nil {
		about["uid"] = metadata(o)["uid"]
	}
}

// names are those of the objects of one kind.
func (c *cluster) names(resource string) []string {
	c.lock.Lock()
	defer c.lock.Unlock()
	names := []string{}
	for _, o := range c.objects[resource] {
		names = append(names, text(metadata(o)["name"]))
	}
	slices.Sort(names)
	return names
}

// store puts an object in, as the API server completes it. The lock is held.
func (c *cluster) store(resource string, object map[string]any) {
	c.version++
	meta := metadata(object)
	meta["resourceVersion"] = strconv.Itoa(c.version)
	if meta["uid"] == nil {
		meta["uid"] = fmt.Sprintf("00000000-0000-4000-8000-%012d", c.version)
	}
	if meta["creationTimestamp"] == nil {
		meta["creationTimestamp"] = time.Now().UTC().Format(time.RFC3339)
	}
	object["apiVersion"], object["kind"] = kinds[resource][0], kinds[resource][1]
	c.objects[resource][text(meta["namespace"])+"/"+text(meta["name"])] = object
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
	for events, w := range c.watches {
		if w.resource == resource && selected(object, w.request) {
			events <- frame(event, object)
		}
	}
}

func frame(event string, object any) string {
	data, _ := json.Marshal(map[string]any{"type": event, "object": object})
	return string(data) + "\n"
}

var resourcePath = regexp.MustCompile(`^/(?:api/v1|apis/batch/v1)/namespaces/([^/]+)(?:/([a-z]+)(?:/([^/]+)(/log)?)?)?$`)

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
		return c.watch(req, e)
	}
	if strings.HasPrefix(req.URL.Path, "/apis/authorization.k8s.io/") { // the Python agents never ask
		return c.review(e).response(req)
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
	if e.Request.Path == "/version" {
		return object(http.StatusOK, map[string]any{"gitVersion": "v1.33.1"})
	}
	if parts == nil {
		return failure(http.StatusNotFound, "no such path: "+e.Request.Path)
	}
	resource, name := parts[2], parts[3]
	switch {
	case resource == "":
		return object(http.StatusOK, map[string]any{
			"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": parts[1], "uid": "namespace-" + parts[1]},
		})
	case kinds[resource][0] == "":
		return failure(http.StatusNotFound, "no such resource: "+resource)
	case req.Method == http.MethodPost && req.URL.Query().Get("dryRun") == "All":
		return object(http.StatusCreated, clone(e.Request.Body.(map[string]any)))
	case req.Method == http.MethodPost:
		return c.create(resource, parts[1], e.Request.Body)
	case name == "":
		return c.list(resource, req)
	}
	found := c.objects[resource][parts[1]+"/"+name]
	if found == nil {
		return failure(http.StatusNotFound, fmt.Sprintf("%s %q not found", resource, name))
	}
	if parts[4] != "" {
		log := c.logs[name]
		return answer{Text: &log, ContentType: "text/plain"}
	}
	if req.Method == http.MethodPatch && resource == "jobs" {
		return c.stop(clone(found))
	}
	if req.Method == http.MethodDelete {
		delete(c.objects[resource], parts[1]+"/"+name)
		c.tell(resource, "DELETED", found)
	}
	return object(http.StatusOK, found)
}

// stop does what the Job controller does about a Job whose parallelism was set to 0.
func (c *cluster) stop(job map[string]any) answer {
	spec, _ := job["spec"].(map[string]any)
	spec["parallelism"] = 0
	if status, _ := job["status"].(map[string]any); status != nil {
		delete(status, "active")
	}
	for key, pod := range c.objects["pods"] {
		status, _ := pod["status"].(map[string]any)
		owners, _ := metadata(pod)["ownerReferences"].([]any)
		owned := slices.ContainsFunc(owners, func(o any) bool { return o.(map[string]any)["uid"] == metadata(job)["uid"] })
		if phase := text(status["phase"]); owned && phase != "Succeeded" && phase != "Failed" {
			delete(c.objects["pods"], key)
			c.tell("pods", "DELETED", pod)
		}
	}
	c.store("jobs", job)
	return object(http.StatusOK, job)
}

// review answers what rights the agent has: all but those that are missing.
func (c *cluster) review(e exchange) answer {
	var review struct {
		Spec struct {
			ResourceAttributes struct{ Verb, Resource, Subresource, Namespace, Name string }
		}
	}
	convert(e.Request.Body, &review)
	a := review.Spec.ResourceAttributes
	right := a.Verb + " " + strings.TrimSuffix(a.Resource+"/"+a.Subresource, "/")
	c.lock.Lock()
	defer c.lock.Unlock()
	if slices.Contains(c.missing, "review") {
		return failure(http.StatusForbidden, "no")
	}
	c.reviewed = append(c.reviewed, right+" "+a.Name)
	return object(http.StatusCreated, map[string]any{
		"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "status": map[string]any{"allowed": !slices.Contains(c.missing, right)},
	})
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
		if a.Message != "" || a.JSON == nil && a.Text == nil && a.Status >= http.StatusBadRequest {
			return failure(a.Status, a.Message), true
		}
		return a, true
	}
	return answer{}, false
}

func (c *cluster) create(resource, namespace string, body any) answer {
	o, _ := body.(map[string]any)
	o = clone(o)
	meta := metadata(o)
	meta["namespace"] = namespace
	if name := text(meta["name"]); c.objects[resource][namespace+"/"+name] != nil {
		return failure(http.StatusConflict, fmt.Sprintf("%s %q already exists", resource, name))
	}
	c.store(resource, o)
	return object(http.StatusCreated, o)
}

func (c *cluster) list(resource string, req *http.Request) answer {
	items := []any{}
	for _, key := range slices.Sorted(maps.Keys(c.objects[resource])) {
		if o := c.objects[resource][key]; selected(o, req) {
			items = append(items, o)
		}
	}
	return object(http.StatusOK, map[string]any{
		"apiVersion": kinds[resource][0], "kind": kinds[resource][1] + "List",
		"metadata": map[string]any{"resourceVersion": strconv.Itoa(c.version)}, "items": items,
	})
}

// selected reports whether an object is in the namespace of a request and fits its
// selectors.
func selected(o map[string]any, req *http.Request) bool {
	meta, query := metadata(o), req.URL.Query()
	own := map[string]string{}
	convert(meta["labels"], &own)
	byLabel, err := labels.Parse(query.Get("labelSelector"))
	byField, failed := fields.ParseSelector(query.Get("fieldSelector"))
	if err != nil || failed != nil || text(meta["namespace"]) != resourcePath.FindStringSubmatch(req.URL.Path)[1] {
		return false
	}
	about, _ := o["involvedObject"].(map[string]any)
	return byLabel.Matches(labels.Set(own)) && byField.Matches(fields.Set{
		"type": text(o["type"]), "metadata.name": text(meta["name"]),
		"involvedObject.name": text(about["name"]), "involvedObject.uid": text(about["uid"]), "involvedObject.kind": text(about["kind"]),
	})
}

// watch sends what is there, the bookmark that ends it, and then what changes.
func (c *cluster) watch(req *http.Request, e exchange) (*http.Response, error) {
	resource := resourcePath.FindStringSubmatch(req.URL.Path)[2]
	events := make(chan string, 256)
	c.lock.Lock()
	if a, ok := c.overridden(e); ok {
		c.lock.Unlock()
		return a.response(req)
	}
	c.watches[events] = watched{resource, req}
	if req.URL.Query().Get("sendInitialEvents") == "true" {
		c.begin(events, resource, req)
	}
	c.lock.Unlock()
	reader, writer := io.Pipe()
	go func() {
		defer writer.CloseWithError(io.EOF)
		defer c.unwatch(events)
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
	resp, err := answer{}.response(req)
	resp.Body = reader
	return resp, err
}

func (c *cluster) unwatch(events chan string) {
	c.lock.Lock()
	defer c.lock.Unlock()
	delete(c.watches, events)
}

func (c *cluster) begin(events chan string, resource string, req *http.Request) {
	for _, key := range slices.Sorted(maps.Keys(c.objects[resource])) {
		if o := c.objects[resource][key]; selected(o, req) {
			events <- frame("ADDED", o)
		}
	}
	events <- frame("BOOKMARK", map[string]any{
		"apiVersion": kinds[resource][0], "kind": kinds[resource][1], "metadata": map[string]any{
			"resourceVersion": strconv.Itoa(c.version), "annotations": map[string]any{"k8s.io/initial-events-end": "true"},
		},
	})
}

func object(status int, o any) answer {
	data, _ := json.Marshal(o)
	return answer{Status: status, JSON: data}
}

var reasons = map[int]string{
	http.StatusForbidden: "Forbidden", http.StatusNotFound: "NotFound", http.StatusConflict: "AlreadyExists",
	http.StatusGone: "Expired", http.StatusUnprocessableEntity: "Invalid", http.StatusTooManyRequests: "TooManyRequests",
	http.StatusUnauthorized: "Unauthorized", http.StatusBadRequest: "BadRequest", http.StatusServiceUnavailable: "ServiceUnavailable",
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
