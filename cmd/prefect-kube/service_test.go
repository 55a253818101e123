package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// busy is a Prefect API and a cluster that never work. It tells of each request, so
// that a test knows that a service goes on.
func busy(t *testing.T) (address string, asked <-chan struct{}) {
	t.Helper()
	requests := make(chan struct{}, 1000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests <- struct{}{}
		w.WriteHeader(http.StatusInternalServerError)
	}))
	t.Cleanup(server.Close)
	return server.URL, requests
}

// service is the real program with a command that runs until it is told to stop.
func service(t *testing.T, address, line string, stderr *os.File) *exec.Cmd {
	t.Helper()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: %q}}]\n", address)
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // for a service that hangs
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "prefect-kube", strings.Fields(line)...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "KUBECONFIG="+kubeconfig, "PREFECT__BACKEND=server", "PREFECT__CLOUD__API="+address)
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func stop(t *testing.T, cmd *exec.Cmd, signal os.Signal) {
	t.Helper()
	if err := cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("got %v after %v, want exit code 0", err, signal)
	}
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return r, w
}

func services() map[string]string {
	return map[string]string{
		"agent of 1.4.1": "agent kubernetes start", "agent of 0.11.0": "agent start kubernetes",
		"resource manager": "resource-manager", "dev": "dev --listen 127.0.0.1:0",
	}
}

// A terminal that is closed, or a reader of the log that died, ends no service before
// its time, and a stop is one with all its lines.
func TestServicesOutliveTheirTerminal(t *testing.T) {
	t.Parallel()
	for name, line := range services() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, _ := busy(t)
			r, w := pipe(t)
			hungUp := service(t, address, line, w)
			_ = w.Close()
			log := bufio.NewReader(r)
			first, err := log.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			stop(t, hungUp, syscall.SIGHUP)
			rest, err := io.ReadAll(log)
			if err != nil || !strings.Contains(string(rest), `"reason":"got signal \"hangup\""`) {
				t.Errorf("got %v and\n%s%s", err, first, rest)
			}
			for line := range bytes.Lines([]byte(first + string(rest))) {
				if !json.Valid(line) {
					t.Errorf("half a line: %s", line)
				}
			}

			r, w = pipe(t)
			unread := service(t, address, line, w)
			_ = w.Close()
			if _, err := bufio.NewReader(r).ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			_ = r.Close() // "stopping" is a line that nobody reads
			stop(t, unread, syscall.SIGTERM)
		})
	}
}

// A log that nobody reads stops neither what a service does nor its end.
func TestServicesDoNotWaitForWhoReadsTheLog(t *testing.T) {
	t.Parallel()
	for name, line := range services() {
		if name == "dev" {
			continue // it asks nobody, so nothing here would show that it goes on
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, asked := busy(t)
			_, w := pipe(t)
			fill(t, w)
			cmd := service(t, address, line, w)
			for range 2 {
				<-asked
			}
			stop(t, cmd, syscall.SIGTERM)
		})
	}
}

// fill writes to a pipe until nothing more goes in.
func fill(t *testing.T, w *os.File) {
	t.Helper()
	fd := int(w.Fd())
	if err := syscall.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	var err error
	for err == nil {
		_, err = syscall.Write(fd, []byte{0})
	}
	if !errors.Is(err, syscall.EAGAIN) {
		t.Fatal(err)
	}
	if err := syscall.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
}
