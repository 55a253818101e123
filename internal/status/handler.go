package status

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Handler answers the paths of the reference (tornado, agent.py) and the probes
// of Kubernetes.
//
// /api/health is the verdict of /livez in the form of the reference: 200 with {}
// while no loop is stuck. /api/poke ends the pause before the next poll.
func (s *Server) Handler() http.Handler {
	routes := map[string]http.HandlerFunc{
		"/api/health": s.health,
		"/api/poke":   s.poke,
		"/livez":      func(w http.ResponseWriter, _ *http.Request) { probe(w, s.o.Health.Live(time.Now()), nil) },
		"/readyz": func(w http.ResponseWriter, _ *http.Request) {
			probe(w, s.o.Health.Ready(time.Now()), s.o.Health.Warnings())
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		// A ServeMux would redirect //api/health and match HEAD; the reference does neither.
		handle, ok := routes[r.URL.Path]
		switch {
		case !ok:
			w.WriteHeader(http.StatusNotFound)
		case !allowed(r):
			w.Header().Set("Allow", "GET")
			w.WriteHeader(http.StatusMethodNotAllowed)
		default:
			handle(w, r)
		}
	})
}

// allowed lets HEAD through for the probes only: tornado's handlers have GET alone.
func allowed(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead && !strings.HasPrefix(r.URL.Path, "/api/")
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	if len(s.o.Health.Live(time.Now())) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = io.WriteString(w, "{}")
}

func (s *Server) poke(w http.ResponseWriter, _ *http.Request) {
	if s.o.Poke != nil {
		s.o.Poke()
	}
	w.WriteHeader(http.StatusOK)
}

// probe writes ok, or the reasons one a line, and then what is only a warning.
func probe(w http.ResponseWriter, reasons, warnings []string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	lines := slices.Clone(reasons)
	if len(reasons) == 0 {
		lines = []string{"ok"}
	} else {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	for _, warning := range warnings {
		lines = append(lines, "warning: "+warning)
	}
	_, _ = io.WriteString(w, strings.Join(lines, "\n")+"\n")
}
