package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"
	"unicode"

	"github.com/prefect-kube/prefect-kube/internal/config"
)

// FuzzCommandLine takes arguments, one a line: whatever they are, the program ends
// with 0 or 2, and what is wrong is said in lines that begin alike.
func FuzzCommandLine(f *testing.F) {
	for _, seed := range []string{
		"agent\nstart\nkubernetes\n-e\nA=b=c\n-l\na,b\n-v\n--max-polls\n3", "agent\nkubernetes\nstart\n-k\nK\n-n\nx\n--log-level\nwarning",
		"agent\nkubernetes\nstart\n--namespace", "agent\nstart\n-e\nA", "agent\nstart\n--verbose=true", "agent\nstart\n--exclusive-labels=false",
		"agent\nstart\n--no-such=1", "agent\nstart\n-x", "agent\nstart\n--", "agent\nstart\n--\nx", "agent\nstart\nKubernetes", "agent\nstart\n-vfn\nx",
		"agent\ninstall", "agent\ninstall\nkubernetes\n--rbac\n-i\nx\n-b\nserver", "agent\nkubernetes\ninstall\n--reference\n0.11.0\n-e\nA=", "render\nx\n-o\njson\n--reference\n1.2.4", "render",
		"resource-manager\n--grace\n1e9", "dev\n--listen\n:0", "version", "help\nagent", "completion\nbash", "--version", "", "\x00", "agent\nstart\n--max-polls\n1_000", "agent\nstart\n--grace=-1s",
		"agent\nkubernetes\nstart\n--keep\na,,b\n--credential-secret\na/b\n--api\nhttp://[::1", "__complete\nagent\nstart\n--l", "agent\nstart\n--name\n\x1b[31m",
	} {
		f.Add(seed, "server")
	}
	f.Add("agent\nstart", "cloud")
	f.Add("agent\nstart", "bog\nus")
	f.Fuzz(func(t *testing.T, line, backend string) {
		var out, errors bytes.Buffer
		started := 0
		c := recorders(&started)
		env := []string{"HOME=/nonexistent", "PREFECT__BACKEND=" + strings.ReplaceAll(backend, "\x00", "")}
		code := run(t.Context(), append([]string{"prefect-kube"}, strings.Split(line, "\n")...), env, streams{in: strings.NewReader(""), out: &out, err: &errors}, c)
		if code != exitClean && code != exitUsage || started > 1 || code == exitUsage && started > 0 {
			t.Errorf("exit code %d, %d commands started", code, started)
		}
		if code != exitUsage || strings.HasPrefix(line, "__complete") {
			return
		}
		if !strings.HasPrefix(errors.String(), "Error: ") {
			t.Errorf("no message: %q", errors.String())
		}
		for text := range strings.SplitSeq(strings.TrimSuffix(errors.String(), "\n"), "\n") {
			if !strings.HasPrefix(text, "Error: ") && !strings.HasPrefix(text, "Try '") || strings.ContainsFunc(text, unicode.IsControl) {
				t.Errorf("line %q in %q", text, errors.String())
			}
		}
	})
}

// recorders count the commands that were reached.
func recorders(started *int) commands {
	return commands{
		start:           func(context.Context, config.Agent, *slog.Logger) error { *started++; return nil },
		dev:             func(context.Context, config.Dev, *slog.Logger) error { *started++; return nil },
		resourceManager: func(context.Context, config.ResourceManager, *slog.Logger) error { *started++; return nil },
		install:         func(context.Context, config.Install, io.Writer, *slog.Logger) error { *started++; return nil },
		render: func(context.Context, config.Render, string, io.Reader, io.Writer, io.Writer, *slog.Logger) error {
			*started++
			return nil
		},
	}
}
