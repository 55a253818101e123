package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// namespace holds the Jobs of every column, one column at a time.
const namespace = "bench"

// cluster is the API server, spoken to in plain HTTP/2, so that what is measured
// is not what measures.
type cluster struct {
	base string
	http *http.Client
}

func openCluster(kubeconfig string) (*cluster, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	tls, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, fmt.Errorf("read certificates of kubeconfig: %w", err)
	}
	transport := &http.Transport{TLSClientConfig: tls, ForceAttemptHTTP2: true}
	return &cluster{base: strings.TrimRight(config.Host, "/"), http: &http.Client{Transport: transport}}, nil
}

const jobsPath = "/apis/batch/v1/namespaces/" + namespace + "/jobs"

// do sends one request and returns the body of an answer below 400.
func (c *cluster) do(ctx context.Context, method, path string, accept string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body)) //nolint:gosec // the address is the caller's choice
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req) //nolint:gosec // the address is the caller's choice
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= http.StatusBadRequest {
		err = &statusError{code: resp.StatusCode, text: fmt.Sprintf("%s %s: status %d: %.300s", method, path, resp.StatusCode, data)}
	}
	return data, err
}

// statusError is an answer of 400 or above.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return e.text }

const (
	acceptJSON     = "application/json"
	acceptProtobuf = "application/vnd.kubernetes.protobuf"
	// acceptList leaves everything but metadata out.
	acceptList = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
)

// prepare makes the namespace, or finds it.
func (c *cluster) prepare(ctx context.Context) error {
	body := fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":%q}}`, namespace)
	_, err := c.do(ctx, http.MethodPost, "/api/v1/namespaces", acceptJSON, body)
	var status *statusError
	if errors.As(err, &status) && status.code == http.StatusConflict {
		err = nil
	}
	return errors.Join(err, c.clear(ctx))
}

// count is the number of Jobs. It asks for one and is told how many are left.
func (c *cluster) count(ctx context.Context) (int, error) {
	data, err := c.do(ctx, http.MethodGet, jobsPath+"?limit=1", acceptList, nil)
	if err != nil {
		return 0, err
	}
	var list struct {
		Metadata struct {
			Remaining int `json:"remainingItemCount"`
		} `json:"metadata"`
		Items []struct{} `json:"items"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return 0, fmt.Errorf("count jobs: %w", err)
	}
	return list.Metadata.Remaining + len(list.Items), nil
}

// clear deletes all Jobs, so that each column finds the same API server.
func (c *cluster) clear(ctx context.Context) error {
	for {
		left, err := c.count(ctx)
		if err != nil || left == 0 {
			return errors.Join(err, sleep(ctx, time.Second))
		}
		// A long deletion ends with the request's time limit, and the next one goes on.
		query := url.Values{"propagationPolicy": {"Background"}}
		_, err = c.do(ctx, http.MethodDelete, jobsPath+"?"+query.Encode(), acceptList, nil)
		var status *statusError
		if err != nil && (!errors.As(err, &status) || status.code < http.StatusInternalServerError) {
			return err
		}
	}
}

// anyJob is one of the Jobs, as the API server shows it.
func (c *cluster) anyJob(ctx context.Context) ([]byte, error) {
	data, err := c.do(ctx, http.MethodGet, jobsPath+"?limit=1", acceptJSON, nil)
	if err != nil {
		return nil, err
	}
	var list struct{ Items []json.RawMessage }
	if err := json.Unmarshal(data, &list); err != nil || len(list.Items) == 0 {
		return nil, errors.Join(errors.New("no job to look at"), err)
	}
	return list.Items[0], nil
}

// sample is how many Jobs there were at a moment.
type sample struct {
	at   time.Time
	jobs int
}

const (
	sampling = 25 * time.Millisecond
	// patience is how long the number of Jobs may stay the same.
	patience = 60 * time.Second
)

// follow counts Jobs until there are as many as wanted, and returns how many were
// accepted in a second between the first and the last of them.
func (c *cluster) follow(ctx context.Context, want int) (float64, error) {
	var first, last sample
	for changed := time.Now(); ; {
		jobs, err := c.count(ctx)
		now := time.Now()
		switch {
		case err != nil:
			return 0, err
		case jobs > last.jobs:
			last, changed = sample{at: now, jobs: jobs}, now
			if first.jobs == 0 {
				first = last
			}
		case now.Sub(changed) > patience:
			return 0, fmt.Errorf("%d of %d jobs, and no new one for %s", jobs, want, patience)
		}
		if jobs >= want {
			return perSecond(first, last), nil
		}
		if err := sleep(ctx, sampling); err != nil {
			return 0, err
		}
	}
}

func perSecond(first, last sample) float64 {
	return float64(last.jobs-first.jobs) / last.at.Sub(first.at).Seconds()
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
