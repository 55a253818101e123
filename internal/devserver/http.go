package devserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/prefect-kube/prefect-kube/internal/devserver/graphql"
)

// routes are the paths that clients of 0.11.0 to 1.4.1 post to, and the health
// endpoint of the gateway. The gateway answers on every path; here unknown ones
// are not found, which leaves room for a page.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	for _, path := range []string{"/{$}", "/graphql", "/graphql/{$}", "/graphql/alpha", "/graphql/alpha/{$}"} {
		mux.HandleFunc("POST "+path, s.graphql)
	}
	mux.HandleFunc("GET /.well-known/apollo/server-health", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/health+json")
		_, _ = io.WriteString(w, `{"status":"pass"}`)
	})
	// There is no login, so pages of other origins must not reach the API through
	// the browser of whoever runs it.
	return newHosts(s.opts.Listen, s.opts.AllowHosts).only(http.NewCrossOriginProtection().Handler(mux))
}

// body is a GraphQL request over HTTP. Variables are an object, a text that
// holds JSON (the Python clients), or null.
type body struct {
	Query         *string         `json:"query"`
	Variables     json.RawMessage `json:"variables"`
	OperationName *string         `json:"operationName"`
}

func (s *Server) graphql(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), s.opts.RequestTimeout)
	defer cancel()
	req, status, problem := s.decode(w, r)
	if problem != "" {
		refuse(w, status, problem)
		return
	}
	res := s.executor.Execute(ctx, req)
	status = http.StatusOK
	if !res.Executed {
		status = http.StatusBadRequest
	}
	write(w, status, res.JSON())
}

func (s *Server) decode(w http.ResponseWriter, r *http.Request) (req graphql.Request, status int, problem string) {
	if typ, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || !strings.HasSuffix(typ, "json") {
		return req, http.StatusUnsupportedMediaType, "POST body must be sent as application/json."
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.opts.MaxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return req, http.StatusRequestEntityTooLarge, "request entity too large"
	}
	if err != nil {
		return req, http.StatusBadRequest, "POST body could not be read."
	}
	if !utf8.Valid(raw) {
		return req, http.StatusBadRequest, "POST body is not valid UTF-8."
	}
	var in body
	if err := json.Unmarshal(raw, &in); err != nil {
		return req, http.StatusBadRequest, "POST body is not a JSON object with a query: " + err.Error()
	}
	if in.Query == nil || strings.TrimSpace(*in.Query) == "" {
		return req, http.StatusBadRequest, "Must provide query string."
	}
	if req.Variables, err = variables(in.Variables); err != nil {
		return req, http.StatusBadRequest, "Variables are invalid JSON."
	}
	req.Query = *in.Query
	if in.OperationName != nil {
		req.OperationName = *in.OperationName
	}
	req.AgentID = r.Header.Get("X-Prefect-Agent-Id")
	req.CoreVersion = r.Header.Get("X-Prefect-Core-Version")
	return req, 0, ""
}

func variables(raw json.RawMessage) (map[string]json.RawMessage, error) {
	if raw = bytes.TrimSpace(raw); len(raw) > 0 && raw[0] == '"' {
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, err
		}
		raw = json.RawMessage(text)
	}
	var out map[string]json.RawMessage
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil
	}
	return out, json.Unmarshal(raw, &out)
}

func refuse(w http.ResponseWriter, status int, message string) {
	text, err := json.Marshal(map[string]any{"errors": []any{map[string]any{"message": message, "extensions": map[string]string{"code": "BAD_REQUEST"}}}})
	if err != nil {
		status = http.StatusInternalServerError
	}
	write(w, status, text)
}

func write(w http.ResponseWriter, status int, text []byte) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(text) //nolint:gosec // JSON that was encoded here, and is said to be
}
