package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// readyWithin bounds the wait for one component on a slow machine.
const readyWithin = 2 * time.Minute

// maxAnswer bounds what is read of an answer.
const maxAnswer = 1 << 20

// client speaks to the cluster's programs with the administrator's certificate.
func (l Layout) client() (*http.Client, error) {
	pair, err := tls.LoadX509KeyPair(l.path("pki", "admin.crt"), l.path("pki", "admin.key"))
	if err != nil {
		return nil, fmt.Errorf("read administrator's certificate: %w", err)
	}
	ca, err := os.ReadFile(l.path("pki", "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("read certificate authority: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
		},
	}, nil
}

// ask puts the question once. Nil means yes.
func (p Probe) ask(ctx context.Context, client *http.Client) error {
	switch {
	case p.Socket != "":
		connection, err := (&net.Dialer{}).DialContext(ctx, "unix", p.Socket)
		if err != nil {
			return err
		}
		return connection.Close()
	case p.Node != "":
		body, err := get(ctx, client, p.Node)
		if err != nil {
			return err
		}
		return nodeIsReady(body)
	default:
		_, err := get(ctx, client, p.URL)
		return err
	}
}

func get(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close() //nolint:errcheck // read only
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %s", url, response.Status, strings.TrimSpace(string(body)))
	}
	return body, nil
}

func nodeIsReady(body []byte) error {
	var node struct {
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if err := json.Unmarshal(body, &node); err != nil {
		return fmt.Errorf("read node: %w", err)
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type != "Ready" {
			continue
		}
		if condition.Status == "True" {
			return nil
		}
		return errors.New("node is not ready: " + condition.Message)
	}
	return errors.New("node has not reported yet")
}

// await asks until the answer is yes, one of the watched components has died, or time is up.
func (l Layout) await(ctx context.Context, p Probe, watched []Component) error {
	client, err := l.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		answer := p.ask(ctx, client)
		if answer == nil {
			return nil
		}
		for _, c := range watched {
			if !l.started(c.Name) {
				return fmt.Errorf("%s ended: %s", c.Name, l.tail(c.Name))
			}
		}
		if !pause(ctx, 100*time.Millisecond) {
			return fmt.Errorf("not ready: %w%s", answer, l.tails(watched))
		}
	}
}

func (l Layout) tails(components []Component) string {
	var text strings.Builder
	for _, c := range components {
		fmt.Fprintf(&text, "\n%s: %s", l.log(c.Name), l.tail(c.Name))
	}
	return text.String()
}

// tail returns the last lines of a component's log, where programs say why they give up.
func (l Layout) tail(component string) string {
	const lines = 15
	data, err := os.ReadFile(l.log(component))
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	return "\n" + strings.Join(all[max(0, len(all)-lines):], "\n")
}
