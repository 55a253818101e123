package kube

import (
	"context"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DryRun sends a Job through the API server's validation, defaults and admission
// without creating it, and returns what would be stored. Unknown fields are
// errors. Where a Job of this name exists, another name is tried in its place.
func (c *Client) DryRun(ctx context.Context, job *batchv1.Job) (*batchv1.Job, error) {
	options := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict}
	jobs := c.JobsIn(job.Namespace)
	stored, err := jobs.Create(ctx, job, options)
	if apierrors.IsAlreadyExists(err) {
		renamed := job.DeepCopy()
		renamed.Name = ""
		renamed.GenerateName = "prefect-job-"
		if stored, err = jobs.Create(ctx, renamed, options); err == nil {
			stored.Name, stored.GenerateName = job.Name, ""
		}
	}
	if err != nil {
		return nil, fail(err, "create", "jobs", job.Namespace, job.Name)
	}
	return stored, nil
}
