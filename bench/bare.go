package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// runBare is the reference: a process that does nothing but create Jobs whose
// text is ready.
func runBare(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench "+modeBare, flag.ContinueOnError)
	callers := flags.Int("callers", 1, "creates under way at the same time")
	count := flags.Int("count", 1, "number of Jobs")
	file := flags.String("job", "", "file with the Job's JSON")
	if err := flags.Parse(args); err != nil {
		return err
	}
	job, err := os.ReadFile(*file)
	if err != nil {
		return err
	}
	c, err := openCluster(os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	bodies, err := multiply(job, *count)
	if err != nil {
		return err
	}
	if _, err := c.count(ctx); err != nil { // opens the connection
		return err
	}
	return createAll(ctx, c, bodies, *callers)
}

func createAll(ctx context.Context, c *cluster, bodies [][]byte, callers int) error {
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range callers {
		group.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(bodies) {
					return nil
				}
				if _, err := c.do(ctx, http.MethodPost, jobsPath, acceptProtobuf, bodies[i]); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

// multiply makes Jobs that differ in their names only, and in the label that
// repeats the name's last part.
func multiply(job []byte, count int) ([][]byte, error) {
	var named struct{ Metadata struct{ Name string } }
	if err := json.Unmarshal(job, &named); err != nil {
		return nil, fmt.Errorf("read the job: %w", err)
	}
	old := named.Metadata.Name[strings.LastIndexByte(named.Metadata.Name, '-')+1:]
	if len(old) == 0 || len(old) > sha256.Size {
		return nil, fmt.Errorf("job name %q has no identifier", named.Metadata.Name)
	}
	encoding := base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
	bodies := make([][]byte, count)
	for i := range bodies {
		sum := sha256.Sum256([]byte("bare" + strconv.Itoa(i)))
		bodies[i] = bytes.ReplaceAll(job, []byte(old), []byte(encoding.EncodeToString(sum[:])[:len(old)]))
	}
	return bodies, nil
}

// asSent takes out of a Job what the API server has put in, so that what is left
// is what its creator has sent.
func asSent(shown []byte) ([]byte, error) {
	var job map[string]any
	if err := json.Unmarshal(shown, &job); err != nil {
		return nil, fmt.Errorf("read the job: %w", err)
	}
	job["status"] = map[string]any{}
	job["apiVersion"], job["kind"] = "batch/v1", "Job" // a list leaves them out
	drop(job, "metadata", "uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")
	drop(job, "spec", "selector", "completionMode", "podReplacementPolicy", "suspend", "manualSelector", "completions", "parallelism")
	template, ok := child(job, "spec", "template")
	if !ok {
		return nil, errors.New("read the job: no spec.template")
	}
	drop(template, "metadata", "creationTimestamp")
	if labels, ok := child(template, "metadata", "labels"); ok {
		for _, name := range []string{"controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"} {
			delete(labels, name)
		}
	}
	drop(template, "spec", "dnsPolicy", "schedulerName", "terminationGracePeriodSeconds")
	spec, _ := child(template, "spec")
	containers, _ := spec["containers"].([]any)
	for _, c := range containers {
		if container, ok := c.(map[string]any); ok {
			for _, key := range []string{"terminationMessagePath", "terminationMessagePolicy", "imagePullPolicy"} {
				delete(container, key)
			}
		}
	}
	return json.Marshal(job)
}

func child(tree map[string]any, path ...string) (map[string]any, bool) {
	for _, key := range path {
		next, ok := tree[key].(map[string]any)
		if !ok {
			return nil, false
		}
		tree = next
	}
	return tree, true
}

func drop(tree map[string]any, at string, keys ...string) {
	if object, ok := child(tree, at); ok {
		for _, key := range keys {
			delete(object, key)
		}
	}
}
