package prefect1_test

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/prefect1"
)

type away struct{}

func (away) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("away") }

// A password in the address is for the request alone.
func TestPasswordOfTheAddressIsNotTold(t *testing.T) {
	t.Parallel()
	client, err := prefect1.New(prefect1.Options{
		API: "http://user:hush@prefect.test", CoreVersion: prefect1.Version1,
		Credential: func() (string, error) { return "", nil }, HTTP: &http.Client{Transport: away{}}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{"agent": client.Connect(t.Context(), prefect1.Registration{}), "reader": client.ConnectReader(t.Context())} {
		if err == nil || strings.Contains(err.Error(), "hush") || !strings.Contains(err.Error(), "prefect.test") {
			t.Errorf("%s: %v, want the address without the password", name, err)
		}
	}
}
