package agent

import (
	"context"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/prefect1"
)

// place is a namespace whose objects are selected as the API server does.
type place struct {
	Cluster
	jobs []batchv1.Job
	pods []corev1.Pod
}

func (p place) Jobs(_ context.Context, _, selector string) (found []batchv1.Job, err error) {
	s, err := labels.Parse(selector)
	for _, j := range p.jobs {
		if err == nil && s.Matches(labels.Set(j.Labels)) {
			found = append(found, j)
		}
	}
	return found, err
}

func (p place) Pods(_ context.Context, _, selector string) (found []corev1.Pod, err error) {
	s, err := labels.Parse(selector)
	for _, pod := range p.pods {
		if err == nil && s.Matches(labels.Set(pod.Labels)) {
			found = append(found, pod)
		}
	}
	return found, err
}

// While a Job of a Python agent lives, of whichever release, its run is not started
// again by us. What only looks like one does not hold a run back.
func TestJobsOfPythonAgentsCountAsLive(t *testing.T) {
	t.Parallel()
	const id = flowrun.ID("11111111-1111-4111-8111-111111111111")
	row := func(version int, state flowrun.StateType) flowrun.Row {
		return flowrun.Row{Version: version, State: flowrun.State{Type: state}}
	}
	history := []flowrun.Row{row(1, flowrun.Scheduled), row(2, flowrun.Submitted), row(3, flowrun.Scheduled)}
	run := prefect1.FlowRun{Snapshot: flowrun.Snapshot{ID: id, Version: 3, State: history[2].State, History: history}}
	old := map[string]string{"app": "prefect-job-1", "identifier": "1", "flow_run_id": string(id)}
	later := map[string]string{"prefect.io/identifier": "1", "prefect.io/flow_run_id": string(id)}
	job := func(name string, own map[string]string) place {
		return place{jobs: []batchv1.Job{{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: own}}}}
	}
	pod := func(name string, own map[string]string) place {
		return place{pods: []corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: own}}}}
	}
	for name, tt := range map[string]struct {
		here place
		want skip
	}{
		"Job of 0.11.0":                       {job("prefect-job-1", old), skipLiveJob},
		"Job of 1.4.1":                        {job("prefect-job-1", later), skipLiveJob},
		"Job named by a template":             {job("etl-1", later), skipLiveJob},
		"Pod of 0.11.0":                       {pod("prefect-job-1-x", old), skipLivePod},
		"Pod of 1.4.1":                        {pod("prefect-job-1-x", later), skipLivePod},
		"a Job that the flow made for itself": {job("train", map[string]string{"flow_run_id": string(id)}), ""},
		"nothing":                             {place{}, ""},
	} {
		a := &Agent{c: Config{Namespace: "flows", Place: placeOf("here")}, cluster: tt.here}
		views := []view{{run: run, stand: run.Standing(), place: placeOf("here"), read: time.Unix(0, 0)}}
		if err := a.lookAt(t.Context(), views); err != nil {
			t.Fatal(err)
		}
		if _, why := offer(views[0]); why != tt.want {
			t.Errorf("%s: got %q, want %q", name, why, tt.want)
		}
	}
}
