package jobspec_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/prefect-kube/prefect-kube/internal/jobspec"
)

// drawTree draws a JSON object whose keys often mean something in a Job.
func drawTree(t *rapid.T, depth int) jobspec.Tree {
	keys := rapid.SampledFrom([]string{
		"metadata", "spec", "template", "labels", "annotations", "containers", "env", "name", "value", "resources", "limits",
		"imagePullSecrets", "securityContext", "restartPolicy", "serviceAccountName", "image", "nodeSelector",
	})
	tree := jobspec.Tree{}
	for _, key := range rapid.SliceOfN(keys, 0, 6).Draw(t, "keys") {
		tree[key] = drawValue(t, depth)
	}
	return tree
}

func drawValue(t *rapid.T, depth int) any {
	kinds := []string{"null", "text", "number", "bool"}
	if depth > 0 {
		kinds = append(kinds, "object", "object", "object", "list")
	}
	switch rapid.SampledFrom(kinds).Draw(t, "kind") {
	case "text":
		return rapid.String().Draw(t, "text")
	case "number":
		return rapid.Int64().Draw(t, "number")
	case "bool":
		return rapid.Bool().Draw(t, "bool")
	case "object":
		return drawTree(t, depth-1)
	case "list":
		list := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "length") {
			list = append(list, drawValue(t, depth-1))
		}
		return list
	}
	return nil
}

func drawPodTemplate(t *rapid.T) jobspec.Tree {
	if rapid.Bool().Draw(t, "wild") {
		return drawTree(t, 5)
	}
	return jobspec.Tree{"metadata": drawTree(t, 1), "spec": jobspec.Tree{"template": jobspec.Tree{"spec": drawTree(t, 3)}}}
}

func drawRun(t *rapid.T) jobspec.FlowRun {
	if rapid.Bool().Draw(t, "environment") {
		return environmentRun()
	}
	config := map[string]any{"type": rapid.SampledFrom([]string{"KubernetesRun", "UniversalRun", "DockerRun"}).Draw(t, "type")}
	config["env"] = rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "env")
	if rapid.Bool().Draw(t, "inline") {
		config["job_template"] = drawPodTemplate(t)
	}
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	return configRun(string(raw))
}

func TestBuildIsDeterministicAndKeepsItsInput(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		run, s := drawRun(t), agent()
		s.AgentTemplate = drawPodTemplate(t)
		s.EnvVars = []jobspec.EnvVar{{Name: "A", Value: "1"}, {Name: "A", Value: "2"}}
		before := fmt.Sprintf("%#v %#v", run, s)
		first, err := jobspec.Build(run, s, identifier)
		second, again := jobspec.Build(run, s, identifier)
		if diff := cmp.Diff(first, second); diff != "" || fmt.Sprint(err) != fmt.Sprint(again) {
			t.Fatalf("Build differs: %v and %v (-first +second):\n%s", err, again, diff)
		}
		job, _, err := jobspec.Job(run, s, attempt)
		sameJob, _, again := jobspec.Job(run, s, attempt)
		if diff := cmp.Diff(job, sameJob); diff != "" || fmt.Sprint(err) != fmt.Sprint(again) {
			t.Fatalf("Job differs: %v and %v (-first +second):\n%s", err, again, diff)
		}
		if after := fmt.Sprintf("%#v %#v", run, s); after != before {
			t.Fatalf("input changed:\n%s\n%s", before, after)
		}
	})
}

func TestHardenTwiceIsHardenOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		run, s := drawRun(t), agent()
		tree := drawPodTemplate(t)
		once := jobspec.Harden(tree, run, s, "job", attempt)
		if diff := cmp.Diff(once, jobspec.Harden(once, run, s, "job", attempt)); diff != "" {
			t.Fatalf("a second Harden changes more (-once +twice):\n%s", diff)
		}
	})
}
