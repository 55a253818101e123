package kube

import (
	"context"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/prefect-kube/prefect-kube/internal/plain"
)

// DryRun sends a Job through the API server's validation, defaults and admission
// without creating it, and returns what would be stored. Unknown fields are
// errors. Where a Job of this name exists, another name is tried in its place.
func (c *Client) DryRun(ctx context.Context, job *batchv1.Job) (*batchv1.Job, error) {
	stored, _, err := c.DryRunWarned(ctx, job)
	return stored, err
}

// DryRunWarned is DryRun with what the API server warns of, such as a pod security
// level that the Pods of the Job violate.
func (c *Client) DryRunWarned(ctx context.Context, job *batchv1.Job) (stored *batchv1.Job, warnings []string, err error) {
	stored, warnings, err = c.dryRun(ctx, job)
	if apierrors.IsAlreadyExists(err) {
		renamed := job.DeepCopy()
		renamed.Name = ""
		renamed.GenerateName = "prefect-job-"
		if stored, warnings, err = c.dryRun(ctx, renamed); err == nil {
			stored.Name, stored.GenerateName = job.Name, ""
		}
	}
	if err != nil {
		return nil, warnings, fail(err, "create", "jobs", job.Namespace, job.Name)
	}
	return stored, warnings, nil
}

func (c *Client) dryRun(ctx context.Context, job *batchv1.Job) (*batchv1.Job, []string, error) {
	options := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict}
	request := c.batch.Post().NamespaceIfScoped(job.Namespace, job.Namespace != "").Resource("jobs").VersionedParams(&options, c.codec).Body(job)
	var warnings []string
	stored, err := within(ctx, c.asker, func(ctx context.Context) (*batchv1.Job, error) {
		result := request.Do(ctx)
		for _, w := range result.Warnings() {
			warnings = append(warnings, plain.Line(w.Text, maxCause))
		}
		stored := &batchv1.Job{}
		return stored, result.Into(stored)
	})
	return stored, warnings, err
}
