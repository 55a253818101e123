package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/app"
	"github.com/prefect-kube/prefect-kube/internal/config"
)

// apiURL and clusterURL stand for {{API}} and {{K8S}} of a case.
const (
	apiHost    = "prefect.test:4200"
	apiURL     = "http://" + apiHost
	clusterURL = "http://cluster.test"
	// runID is the run of most cases, otherID another one.
	runID   = "11111111-1111-4111-8111-111111111111"
	otherID = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
)

// vector is one case of conformance/http.
type vector struct {
	Input struct {
		Mode        string
		Passes      int
		Agent       map[string]any // constructor arguments, in mode heartbeat
		Command     []string
		Environment variables
		Files       map[string]string
		HomeFiles   map[string]string `json:"home_files"`
		Now         time.Time
		Backend     map[string][]answer
		Cluster     clusterState
	}
	Expected struct {
		Exit         *struct{ Code int }
		Exchanges    []exchange
		ClusterAfter *struct{ Jobs, Pods []string } `json:"cluster_after"`
	}
	Deviates []struct{ ID string }

	// release is the one that the case was recorded with, core the generation of its wire.
	release, core string
	// dir and home are {{DIR}} and {{HOME}}.
	dir, home string
}

// variables are texts, whatever type they have in a case.
type variables map[string]string

// UnmarshalJSON implements json.Unmarshaler.
func (x *variables) UnmarshalJSON(raw []byte) error {
	var values map[string]any
	if err := json.Unmarshal(raw, &values); err != nil {
		return err
	}
	*x = variables{}
	for name, value := range values {
		if s, ok := value.(string); ok {
			(*x)[name] = s
		} else {
			(*x)[name] = encode(value)
		}
	}
	return nil
}

// after are the names of what the recorded cluster held in the end. A case without
// them says it by what was deleted.
func (v *vector) after() (jobs, pods []string) {
	if after := v.Expected.ClusterAfter; after != nil {
		return after.Jobs, after.Pods
	}
	deleted := map[string]bool{}
	for _, e := range v.Expected.Exchanges {
		if parts := resourcePath.FindStringSubmatch(e.Request.Path); parts != nil && e.Request.Method == http.MethodDelete && e.Answer.status() < http.StatusBadRequest {
			deleted[parts[2]+"/"+parts[3]] = true
		}
	}
	left := func(kind string, objects []map[string]any) (names []string) {
		for _, o := range objects {
			if name := text(metadata(o)["name"]); !deleted[kind+"/"+name] {
				names = append(names, name)
			}
		}
		return names
	}
	return left("jobs", v.Input.Cluster.Jobs), left("pods", v.Input.Cluster.Pods)
}

func (v *vector) places() *strings.Replacer {
	return strings.NewReplacer("{{DIR}}", v.dir, "{{HOME}}", v.home)
}

// heartbeat reports whether only passes of manage_jobs were recorded.
func (v *vector) heartbeat() bool { return v.Input.Mode == "heartbeat" }

// exchange is one request and its answer, recorded or our own.
type exchange struct {
	API     string
	Request struct {
		Method, Path string
		Headers      map[string]string
		Query        any // the document, or the parameters of the URL
		Variables    any
		Body         any
	}
	Answer answer
	// Pass and PassAbortedBy occur in recordings of passes.
	Pass          int
	PassAbortedBy map[string]any `json:"pass_aborted_by"`
	// at is when the request was sent. In a recording the clock stands still.
	at time.Time
}

// answer is a scripted or recorded answer. Without a status it is 200.
type answer struct {
	Status      int
	Data        json.RawMessage
	JSON        json.RawMessage
	Text        *string
	ContentType string `json:"content_type"`
	Close       bool
	// Message and Default occur in the scripts of the cluster.
	Message string
	Default any
}

func readVector(t *testing.T, file string) vector {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	release := filepath.Base(filepath.Dir(file))
	if release == "http" {
		release = filepath.Base(filepath.Dir(filepath.Dir(file)))
	}
	core := release
	switch { // the generation of its wire
	case strings.HasPrefix(release, "0.12."):
		core = config.Core0
	case strings.HasPrefix(release, "0.") && release != config.Core0, strings.HasPrefix(release, "1."):
		core = config.Core1
	}
	v := parseVector(t, core, string(data))
	v.release = release
	return v
}

// parseVector reads a case of one release.
func parseVector(t *testing.T, core, text string) vector {
	t.Helper()
	text = strings.NewReplacer("{{API}}", apiURL, "{{API_HOST}}", apiHost, "{{K8S}}", clusterURL).Replace(text)
	v := vector{core: core, dir: t.TempDir(), home: t.TempDir()}
	text = v.places().Replace(text)
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// outcome is what one run of ours did.
type outcome struct {
	exit      string
	exchanges []exchange
	cluster   *cluster
	log       string
}

const (
	// patience is how long an agent may go on that would have ended in the recording.
	patience = 10 * time.Minute
	// aPass is the pause between two passes of manage_jobs, and aftermath how long we
	// go on after the last one: until what is stuck has been failed and what has
	// ended is deleted. When something happens is not compared.
	aPass, aftermath = time.Minute, time.Hour
)

func (v *vector) patience() time.Duration {
	if v.heartbeat() {
		return time.Duration(max(1, v.Input.Passes))*aPass + aftermath
	}
	return patience
}

// run starts the agent as the case says, in a bubble whose clock shows the
// recorded time at the start.
func (v *vector) run(t *testing.T) outcome {
	t.Helper()
	core, src := v.sources(t)
	var out outcome
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(v.Input.Now))
		var log bytes.Buffer
		r := &recorder{}
		out.cluster = newCluster(r, v.Input.Cluster)
		out.exit = runAgent(t.Context(), core, src, &backend{recorder: r, script: maps.Clone(v.Input.Backend)}, out.cluster,
			slog.New(slog.NewTextHandler(&log, nil)), v.patience())
		out.exchanges, out.log = r.exchanges, log.String()
	})
	return out
}

// runAgent does what the command does between its command line and its exit code.
func runAgent(ctx context.Context, core string, src config.Sources, b http.RoundTripper, c *cluster, log *slog.Logger, patience time.Duration) string {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		cfg, err := config.ResolveAgent(core, src)
		if err == nil {
			err = cfg.CheckCredential()
		}
		if err == nil {
			err = app.StartAgentOver(ctx, cfg, b, c, log)
		}
		done <- err
	}()
	select {
	case err := <-done:
		return exitCode(err)
	case <-time.After(patience):
	}
	cancel()
	if err := <-done; err != nil {
		return "waiting, then " + exitCode(err)
	}
	return "waiting"
}

func exitCode(err error) string {
	if err == nil {
		return "0"
	}
	if _, ok := errors.AsType[*config.Error](err); ok {
		return "2"
	}
	return "1"
}

// sources is what the case's command line, environment and files say.
func (v *vector) sources(t *testing.T) (core string, src config.Sources) {
	t.Helper()
	writeFiles(t, v.dir, v.Input.Files)
	writeFiles(t, v.home, v.Input.HomeFiles)
	src = config.Sources{HomeDir: v.home, Env: []string{"HOME=" + v.home}}
	for name, value := range v.Input.Environment {
		src.Env = append(src.Env, name+"="+value)
	}
	if v.heartbeat() {
		src.Flags = constructorFlags(v.Input.Agent)
		return config.Core1, src
	}
	core, rest := config.Core1, v.Input.Command
	switch {
	case len(rest) >= 3 && slices.Equal(rest[:3], []string{"agent", "kubernetes", "start"}):
		rest = rest[3:]
	case len(rest) >= 2 && slices.Equal(rest[:2], []string{"agent", "start"}):
		core, rest = config.Core0, rest[2:]
	default:
		t.Fatalf("command %q is not known here", rest)
	}
	flags, err := parseFlags(core, rest)
	if err != nil {
		t.Fatal(err)
	}
	src.Flags = flags
	return core, src
}

// constructorFlags says the arguments of the Python class by our flags. The pause
// between polls is long, since nothing is polled for in these cases.
func constructorFlags(args map[string]any) map[string][]string {
	flags := map[string][]string{"max-poll-interval": {"60s"}}
	for name, value := range args {
		switch name {
		case "delete_finished_jobs":
			if value == false {
				flags["disable-job-deletion"] = []string{"true"}
			}
		case "no_cloud_logs":
			if value == true {
				flags["no-cloud-logs"] = []string{"true"}
			}
		case "labels":
			flags["label"] = wordsOf(value)
		case "env_vars":
			flags["env"] = wordsOf(value)
		case "image_pull_secrets":
			flags["image-pull-secrets"] = []string{strings.Join(wordsOf(value), ",")}
		default:
			flags[strings.TrimSuffix(strings.ReplaceAll(name, "_", "-"), "-path")] = wordsOf(value)
		}
	}
	return flags
}

func wordsOf(value any) []string {
	switch v := value.(type) {
	case nil:
		return nil
	case []any:
		var words []string
		for _, word := range v {
			words = append(words, wordsOf(word)...)
		}
		return words
	case map[string]any:
		var words []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			words = append(words, fmt.Sprintf("%s=%v", name, v[name]))
		}
		return words
	}
	return []string{fmt.Sprint(value)}
}

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// parseFlags reads the options of a recorded command. The command line itself is
// tested where it lives.
func parseFlags(core string, args []string) (map[string][]string, error) {
	flags := map[string][]string{}
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		if word == "kubernetes" {
			continue
		}
		name, value, given := strings.Cut(word, "=")
		f, ok := findFlag(core, name)
		switch {
		case !ok && core == config.Core0:
			// Options of other kinds of agents, which 0.11.0 takes and ignores.
			if !given && len(args) > 0 && !strings.HasPrefix(args[0], "-") && args[0] != "kubernetes" {
				args = args[1:]
			}
			continue
		case !ok:
			return nil, fmt.Errorf("option %q is not known here", word)
		case !given && f.Means != "":
			value = "true"
		case !given && len(args) == 0:
			return nil, fmt.Errorf("option %q without a value", word)
		case !given:
			value, args = args[0], args[1:]
		}
		flags[f.Name] = append(flags[f.Name], value)
	}
	return flags, nil
}

func findFlag(core, word string) (config.Flag, bool) {
	for _, s := range config.AgentSettings(core) {
		for _, f := range s.Flags {
			if word == "--"+f.Name || f.Short != "" && word == "-"+f.Short {
				return f, true
			}
		}
	}
	return config.Flag{}, false
}

// recorder keeps exchanges in the order of their requests.
type recorder struct {
	mu        sync.Mutex
	exchanges []exchange
}

func (r *recorder) add(e exchange) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.exchanges = append(r.exchanges, e)
}
