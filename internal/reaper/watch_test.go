package reaper

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/prefect-kube/prefect-kube/internal/diagnose"
	"github.com/prefect-kube/prefect-kube/internal/flowrun"
	"github.com/prefect-kube/prefect-kube/internal/kube"
)

// The clients that the reaper is made for.
var (
	_ Cluster = (*kube.Client)(nil)
	_ Witness = (*kube.Client)(nil)
	_ Watch   = (*kube.Watch[diagnose.Job, diagnose.Pod])(nil)
)

// clientset is a Cluster over client-go's fake; what it cannot do it takes from a world.
type clientset struct {
	*world
	cs *fake.Clientset
}

func (c clientset) Jobs(ctx context.Context, namespace, selector string) ([]batchv1.Job, error) {
	list, err := c.cs.BatchV1().Jobs(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	return list.Items, err
}

func (c clientset) Pods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	list, err := c.cs.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	return list.Items, err
}

func (c clientset) Delete(ctx context.Context, namespace, name, _, _ string) error {
	return c.cs.BatchV1().Jobs(namespace).Delete(ctx, name, metav1.DeleteOptions{})
}

type (
	listsJobs struct{ kube.Jobs }
	listsPods struct{ kube.Pods }
)

func (listsJobs) IsWatchListSemanticsUnSupported() bool { return true }
func (listsPods) IsWatchListSemanticsUnSupported() bool { return true }

// TestOverARealWatch drives the reaper by informers and client-go's queue.
func TestOverARealWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.run(1, isRunning)
		w.pod(1, corev1.PodRunning, runs())
		j, p := w.jobs["job-1"], w.pods["job-1-pod"]
		p.Namespace = "flows"
		cs := fake.NewClientset(&j, &p)
		watch, err := kube.NewWatch(listsJobs{cs.BatchV1().Jobs("flows")}, listsPods{cs.CoreV1().Pods("flows")},
			kube.WatchOptions[diagnose.Job, diagnose.Pod]{
				Namespace: "flows", Labels: flowrun.RunLabels(), Job: diagnose.JobFacts, Pod: diagnose.PodFacts, Log: slog.New(slog.DiscardHandler),
			})
		if err != nil {
			t.Fatal(err)
		}
		c := clientset{w, cs}
		r, err := New(Options{Watch: watch, Cluster: c, Witness: c, Reporter: w, Health: calm{}, Policy: testPolicy(), Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, run := range []func(context.Context) error{watch.Run, r.Run} {
			wg.Go(func() {
				if err := run(ctx); err != nil {
					t.Errorf("run: %v", err)
				}
			})
		}
		defer wg.Wait()
		defer cancel()

		pass(time.Minute)
		ended := p.DeepCopy()
		ended.Status.Phase = corev1.PodFailed
		ended.Status.ContainerStatuses[0].State = endedWith(1, "Error")
		if _, err := cs.CoreV1().Pods("flows").Update(ctx, ended, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		pass(5 * time.Second)
		if got := w.standing(1); got != flowrun.Failed {
			t.Errorf("got %s five seconds after the end", got)
		}
		done := j.DeepCopy()
		failed(done)
		if _, err := cs.BatchV1().Jobs("flows").Update(ctx, done, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		pass(5 * time.Minute)
		if list, err := c.Jobs(ctx, "flows", ""); err != nil || len(list) != 0 {
			t.Errorf("got %d Jobs left, %v", len(list), err)
		}
	})
}
