package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// trait is what a row of differences asks of a case, or of the thing that a fact is
// about. Traits are read off the case's input, so that they hold for cases that
// nobody here has seen.
type trait func(v *vector, fact string) bool

func always(*vector, string) bool { return true }

// marked cases say themselves that they show a defect.
func marked(id string) trait {
	return func(v *vector, _ string) bool {
		return slices.ContainsFunc(v.Deviates, func(d struct{ ID string }) bool { return d.ID == id })
	}
}

// silent cases end before a request is sent.
func silent(v *vector, _ string) bool { return len(v.Expected.Exchanges) == 0 }

// configured agents are linked to a config at the backend.
func configured(v *vector, _ string) bool { return len(v.Input.Backend["agent_config"]) > 0 }

// failing answers to a GraphQL operation are no success. A run that is null is one
// that is not known.
func (a answer) failing() bool {
	var data map[string]any
	_ = json.Unmarshal(a.Data, &data) // an answer of another form has nothing
	nothing := len(data) == 0
	for root, value := range data {
		nothing = nothing || value == nil && root != "flow_run_by_pk"
	}
	return a.Close || a.status() >= http.StatusBadRequest || nothing
}

// fails is whether the script of a root field begins with a failure, or is one.
func (v *vector) fails(root string) bool {
	answers := v.Input.Backend[root]
	return len(answers) > 0 && answers[0].failing()
}

// outlasting are failures of a poll that go on for longer than we try within one.
func outlasting(v *vector, _ string) bool {
	const tries = 4
	for _, root := range []string{"get_runs_in_queue", "flow_run"} {
		answers := v.Input.Backend[root]
		first := slices.IndexFunc(answers, func(a answer) bool { return !a.failing() })
		if first >= tries || len(answers) > 0 && first < 0 {
			return true
		}
	}
	return false
}

// passing are failures of a poll that may be over when it is tried again.
func passing(v *vector, _ string) bool { return v.fails("get_runs_in_queue") || v.fails("flow_run") }

// sized agents have settings for Jobs by the variables of the old agents.
func sized(v *vector, _ string) bool {
	for name := range v.Input.Environment {
		if strings.HasPrefix(name, "JOB_") || name == "IMAGE_PULL_POLICY" {
			return true
		}
	}
	return false
}

func helloFails(v *vector, _ string) bool { return v.fails("hello") }

// mended cases have a start that fails at first and works later.
func mended(v *vector, _ string) bool {
	for root := range starts {
		if v.fails(root) && slices.ContainsFunc(v.Input.Backend[root], func(a answer) bool { return !a.failing() }) {
			return true
		}
	}
	return false
}

// taskRunsFail is a case in which the states of task runs are not taken.
func taskRunsFail(v *vector, _ string) bool { return v.fails("set_task_run_states") }

// unclaimed cases have no answer, or a refusal, for a claim.
func unclaimed(v *vector, _ string) bool { return v.fails("set_flow_run_states") && !v.heartbeat() }

// unloggable cases take no lines of run logs.
func unloggable(v *vector, _ string) bool {
	return v.fails("write_run_logs") || slices.ContainsFunc(v.Input.Backend["write_run_logs"], func(a answer) bool { return !like("*true*", string(a.Data)) })
}

// aborting cases have a failure that ends a pass of the reference.
func aborting(v *vector, _ string) bool {
	fails := v.fails("write_run_logs") || v.fails("flow_run_by_pk") || v.fails("set_flow_run_states")
	return len(v.Input.Cluster.Jobs) > 0 && fails ||
		slices.ContainsFunc(v.Input.Cluster.Overrides, func(o *override) bool { return o.Method == http.MethodGet })
}

// queued cases answer a state with QUEUED.
func queued(v *vector, _ string) bool {
	return slices.ContainsFunc(v.Input.Backend["set_flow_run_states"], func(a answer) bool { return like("*QUEUED*", string(a.Data)) })
}

// unlogged agents write no run logs.
func unlogged(v *vector, _ string) bool {
	return slices.Contains(v.Input.Command, "--no-cloud-logs") || v.Input.Agent["no_cloud_logs"] == true ||
		strings.EqualFold(v.Input.Environment["PREFECT__CLOUD__SEND_FLOW_RUN_LOGS"], "false")
}

// passes are several.
func passes(v *vector, _ string) bool { return v.Input.Passes > 1 }

// scripted is a flow run as the case's backend offers it.
type scripted struct {
	ID    string
	State *struct{ Type string } `json:"serialized_state"`
	Flow  struct {
		Storage     struct{ Type string }
		Environment map[string]any
	}
}

// offered are the runs that the case's backend offers.
func (v *vector) offered() []scripted {
	var runs []scripted
	for _, a := range v.Input.Backend["flow_run"] {
		var data struct {
			Runs []scripted `json:"flow_run"`
		}
		_ = json.Unmarshal(a.Data, &data) // an answer of another form offers nothing
		runs = append(runs, data.Runs...)
	}
	return runs
}

// offer is the offered run that a fact is about.
func (v *vector) offer(fact string) (scripted, bool) {
	id, _, _ := strings.Cut(strings.TrimPrefix(fact, "run/"), "/")
	runs := v.offered()
	i := slices.IndexFunc(runs, func(r scripted) bool { return r.ID == id })
	if i < 0 {
		return scripted{}, false
	}
	return runs[i], true
}

// running runs are offered for task runs that wait to be started.
func running(v *vector, fact string) bool {
	run, ok := v.offer(fact)
	return ok && run.State != nil && run.State.Type == "Running"
}

// retried are cases that offer such a run.
func retried(v *vector, _ string) bool {
	return slices.ContainsFunc(v.offered(), func(r scripted) bool { return r.State != nil && r.State.Type == "Running" })
}

// stateless runs have null for a state.
func stateless(v *vector, fact string) bool {
	run, ok := v.offer(fact)
	return ok && run.State == nil
}

// besideStateless runs can be read, but one beside them cannot.
func besideStateless(v *vector, fact string) bool {
	return !stateless(v, fact) && slices.ContainsFunc(v.offered(), func(r scripted) bool { return r.State == nil })
}

// lenient cases say that the reference is too strict about a run.
func lenient(v *vector, fact string) bool {
	return slices.ContainsFunc([]string{"D-28", "D-34", "D-44"}, func(id string) bool { return marked(id)(v, fact) })
}

// creating are the scripted answers to creates of Jobs.
func (v *vector) creating() []answer {
	var answers []answer
	for _, o := range v.Input.Cluster.Overrides {
		if o.Method == http.MethodPost && like("*jobs*", o.Path) {
			answers = append(answers, o.Answers...)
		}
	}
	return answers
}

// passing answers may become another one when the request is sent again.
func (a answer) passing() bool {
	return a.Close || a.Status == http.StatusTooManyRequests || a.Status == http.StatusUnauthorized || a.Status >= http.StatusInternalServerError
}

// createsFail is a case in which a create meets a failure that may pass.
func createsFail(v *vector, _ string) bool { return slices.ContainsFunc(v.creating(), answer.passing) }

// lasting is how many such failures in a row outlast the fence.
const lasting = 10

// createsHeal is one in which it passes within the fence.
func createsHeal(v *vector, _ string) bool {
	return createsFail(v, "") && len(v.creating()) < lasting
}

// createsStay is one in which nothing sure is answered: failures that last, or a
// conflict with a Job that is not there.
func createsStay(v *vector, _ string) bool {
	conflict := slices.ContainsFunc(v.creating(), func(a answer) bool { return a.Status == http.StatusConflict })
	return conflict || createsFail(v, "") && len(v.creating()) >= lasting
}

// deleting cases have deletions that are refused.
func deleting(v *vector, _ string) bool {
	return slices.ContainsFunc(v.Input.Cluster.Overrides, func(o *override) bool { return o.Method == http.MethodDelete })
}

// held is a Job or Pod of the case's cluster.
type held struct {
	Metadata struct {
		Name   string
		Labels map[string]string
	}
	Status struct {
		Active, Succeeded, Failed int
		Phase                     string
		ContainerStatuses         []struct {
			State struct{ Waiting *struct{ Reason string } }
		}
	}
}

func (h held) run() string { return h.Metadata.Labels["prefect.io/flow_run_id"] }

// holds tells whether a Job or Pod of the run that a fact is about is like this.
func (v *vector) holds(fact string, like func(h held) bool) bool {
	return slices.ContainsFunc(v.held(fact), like)
}

// several tells whether more than one is.
func (v *vector) several(fact string, like func(h held) bool) bool {
	return len(slices.DeleteFunc(v.held(fact), func(h held) bool { return !like(h) })) > 1
}

// held are the Jobs and Pods of the run that a fact is about. The fact names the run
// or one of its Jobs.
func (v *vector) held(fact string) []held {
	var objects []held
	convert(append(slices.Clone(v.Input.Cluster.Jobs), v.Input.Cluster.Pods...), &objects)
	parts := strings.Split(fact, "/")
	id := ""
	if parts[0] == "run" {
		id = parts[1]
	}
	for _, o := range objects {
		if parts[0] != "run" && o.Metadata.Name == parts[len(parts)-1] {
			id = o.run()
		}
	}
	return slices.DeleteFunc(objects, func(h held) bool { return h.run() != id })
}

// isJob and isPod tell the two apart: a Pod has a phase.
func (h held) isJob() bool { return h.Status.Phase == "" }
func (h held) isPod() bool { return !h.isJob() }

// severalJobs are of one run.
func severalJobs(v *vector, fact string) bool { return v.several(fact, held.isJob) }

// severalPods are of one run.
func severalPods(v *vector, fact string) bool { return v.several(fact, held.isPod) }

// rivals are several Jobs of one run that have Pods which may still start.
func rivals(v *vector, fact string) bool {
	return severalJobs(v, fact) && v.several(fact, func(h held) bool { return h.Status.Phase == "Pending" || h.Status.Phase == "Running" })
}

// unmarked runs have a Pod that cannot start, and a Job whose status does not say
// that it has one.
func unmarked(v *vector, fact string) bool {
	return unstartable(v, fact) && v.holds(fact, func(h held) bool { return h.isJob() && h.Status.Active == 0 })
}

// misspelt agents have DELETE_FINISHED_JOBS in a spelling that is not Python's.
func misspelt(v *vector, _ string) bool {
	value, given := v.Input.Environment["DELETE_FINISHED_JOBS"]
	return given && value != "True" && strings.EqualFold(value, "true")
}

// last is the state that the case's script shows in the end of a run that only
// Jobs name, empty if it shows none.
func (v *vector) last() string {
	answers := v.Input.Backend["flow_run_by_pk"]
	if len(answers) == 0 {
		return ""
	}
	var data struct {
		Run struct {
			State struct{ Type string } `json:"serialized_state"`
		} `json:"flow_run_by_pk"`
	}
	_ = json.Unmarshal(answers[len(answers)-1].Data, &data) // an answer of another form shows none
	return data.Run.State.Type
}

func (v *vector) finished() bool {
	return slices.Contains([]string{"Success", "Failed", "Cancelled", "TimedOut", "Skipped", "Cached", "Mapped", "Looped", "TriggerFailed", "ValidationFailed", "Finished"}, v.last())
}

// newestUnfinished is a Job whose run has not ended and that has no newer one.
func newestUnfinished(v *vector, fact string) bool {
	var jobs []held
	convert(v.Input.Cluster.Jobs, &jobs)
	newest := map[string]string{}
	for _, j := range jobs {
		newest[j.run()] = max(newest[j.run()], j.Metadata.Name)
	}
	name := fact[strings.LastIndex(fact, "/")+1:]
	return !v.finished() && v.holds(fact, func(h held) bool { return h.Metadata.Name == name && newest[h.run()] == name })
}

// alive runs have a Job with a Pod that failed and another one that may still run.
func alive(v *vector, fact string) bool {
	return v.holds(fact, func(h held) bool {
		return h.Status.Phase == "Running" || h.Status.Phase == "Pending" || h.Status.Active > 0
	}) &&
		v.holds(fact, func(h held) bool { return h.Status.Failed > 0 })
}

func (v *vector) waits(fact string, reasons ...string) bool {
	return v.holds(fact, func(h held) bool {
		for _, c := range h.Status.ContainerStatuses {
			if w := c.State.Waiting; w != nil && slices.Contains(reasons, w.Reason) {
				return true
			}
		}
		return false
	})
}

// pulling runs have a container whose image cannot be pulled.
func pulling(v *vector, fact string) bool { return v.waits(fact, "ErrImagePull", "ImagePullBackOff") }

// stuck runs have a Pod that cannot start for another reason.
func stuck(v *vector, fact string) bool {
	return v.waits(fact, "CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError", "InvalidImageName", "ErrImageNeverPull", "RunContainerError",
		"ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed")
}

// unstartable runs have a Pod that cannot start.
func unstartable(v *vector, fact string) bool { return pulling(v, fact) || stuck(v, fact) }

// events are told of a Pod that is pending.
func events(v *vector, fact string) bool {
	return len(v.Input.Cluster.Events) > 0 && v.holds(fact, func(h held) bool { return h.Status.Phase == "Pending" })
}

// vanished runs are not known to the API at some time.
func vanished(v *vector, _ string) bool {
	return slices.ContainsFunc(v.Input.Backend["flow_run_by_pk"], func(a answer) bool {
		var data map[string]any
		_ = json.Unmarshal(a.Data, &data) // an answer of another form hides no run
		run, has := data["flow_run_by_pk"]
		return has && run == nil
	})
}

// podless Jobs have no Pod.
func podless(v *vector, fact string) bool {
	return v.holds(fact, func(held) bool { return true }) && !v.holds(fact, func(h held) bool { return h.Status.Phase != "" })
}

// ended runs are final already.
func ended(v *vector, _ string) bool { return len(v.Input.Cluster.Jobs) > 0 && v.finished() }

// waiting runs are to be started, whatever their Jobs say.
func waiting(v *vector, _ string) bool {
	return len(v.Input.Cluster.Jobs) > 0 && slices.Contains([]string{"Scheduled", "Pending", "Queued", "Retrying", "Resume", "Paused"}, v.last())
}

// cancelled runs have Jobs.
func cancelled(v *vector, _ string) bool {
	return len(v.Input.Cluster.Jobs) > 0 && v.last() == "Cancelled"
}

// refusing backends take no state.
func refusing(v *vector, _ string) bool {
	answers := v.Input.Backend["set_flow_run_states"]
	return len(answers) > 0 && answers[len(answers)-1].Data == nil
}

// tellable are the words of a cluster's Pods and events that a report may tell, as
// patterns by what they are.
func (s clusterState) tellable() map[string]*regexp.Regexp {
	words := map[string]*regexp.Regexp{}
	add := func(kind, word string) {
		if word != "" {
			words[kind+" "+word] = regexp.MustCompile(`(^|\W)` + regexp.QuoteMeta(word) + `(\W|$)`)
		}
	}
	for _, p := range s.Pods {
		add("pod", text(metadata(p)["name"]))
		var pod struct {
			Status struct {
				Reason, Message   string
				ContainerStatuses []struct {
					Name  string
					State struct {
						Waiting    *struct{ Reason, Message string }
						Terminated *struct {
							Reason, Message  string
							ExitCode, Signal int
						}
					}
				}
			}
		}
		convert(p, &pod)
		add("reason", pod.Status.Reason)
		add("message", pod.Status.Message)
		for _, c := range pod.Status.ContainerStatuses {
			add("container", c.Name)
			if w := c.State.Waiting; w != nil {
				add("reason", w.Reason)
				add("message", w.Message)
			}
			if e := c.State.Terminated; e != nil {
				add("reason", e.Reason)
				add("message", e.Message)
				words[fmt.Sprintf("exit code %d", e.ExitCode)] = regexp.MustCompile(fmt.Sprintf(`(?i)exit code:* %d\b`, e.ExitCode))
				if e.Signal != 0 {
					words[fmt.Sprintf("signal %d", e.Signal)] = regexp.MustCompile(fmt.Sprintf(`(?i)signal:* %d\b|SIG[A-Z]+`, e.Signal))
				}
			}
		}
	}
	for _, e := range s.Events {
		add("event", text(e["reason"]))
		add("event", text(e["message"]))
	}
	return words
}
