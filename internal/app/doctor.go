package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/kube"
	"github.com/prefect-kube/prefect-kube/internal/prefect1"
)

// checkTimeout bounds one check. The Prefect API is asked four times before that.
// A check that is told to end has the grace to say what it waited for.
const (
	checkTimeout = 20 * time.Second
	checkGrace   = time.Second
)

// Verdict is how a check came out.
type Verdict string

// A check that is Skipped needs another one that failed.
const (
	Healthy  Verdict = "ok"
	Doubtful Verdict = "warn"
	Broken   Verdict = "fail"
	Skipped  Verdict = "skip"
)

// Finding is one result of a check, which may have several.
type Finding struct {
	Check   string  `json:"check"`
	Verdict Verdict `json:"verdict"`
	// Detail says what was found, Mend what to do about it.
	Detail string `json:"detail"`
	Mend   string `json:"mend,omitempty"`
}

// Check is one thing that doctor looks at.
type Check struct {
	Name string
	// Needs are the checks without which this one makes no sense.
	Needs []string
	// About says what is looked at.
	About string
	look  func(context.Context, *patient) []Finding
}

// Checks are all that doctor looks at, in their order.
func Checks() []Check {
	return []Check{
		{"configuration", nil, "Files that were read, where the credential stands, and what is odd about the settings.", lookAtConfiguration},
		{"kubernetes", nil, "The pod's own service account or the kubeconfig that is used.", lookForCluster},
		{"api server", []string{"kubernetes"}, "The API server answers and takes the credential.", lookAtAPIServer},
		{"namespace", []string{"api server"}, "The namespace of the Jobs exists.", lookAtNamespace},
		{"rights", []string{"namespace"}, "Each right of the Role that `install --rbac` prints; `create` on Jobs is the only one without which nothing starts.", lookAtRights},
		{"job template", nil, "The agent's own Job template can be read.", lookAtTemplate},
		{"job", []string{"rights", "job template"}, "The Job of a flow run that asks for nothing, built and sent to the API server as a dry run, and what that warns of, such as pod security. It is of 1.4.1, or of 0.11.0 if `--token` or `--verbose` is given or a token of 0.11.0 is the only credential for Prefect Cloud.", lookAtJob},
		{"service account", []string{"namespace"}, "The service account of Jobs that name none exists, if it may be read.", lookAtAccount},
		{"secrets", []string{"namespace"}, "The image pull secrets, and the Secret with the credential, exist, if they may be read. What is in them is not read.", lookAtSecrets},
		{"other agents", []string{"namespace"}, "No Python agent makes Jobs in this namespace.", lookForRivals},
		{"prefect api", nil, "The Prefect API answers at its address.", lookAtPrefect},
		{"clock", nil, "This machine's clock agrees to 5 seconds with those of the Prefect API and the API server, as the Date headers of their answers have them. It decides when a flow run is due.", lookAtClocks},
		{"credential", []string{"prefect api"}, "The Prefect API takes the credential, and the tenant is one of its own.", lookAtCredential},
		{"prefect server", []string{"credential"}, "The generation of the server and what its schema has, and what follows for delivery.", lookAtServer},
		{"agent config", []string{"credential"}, "The agent's config at the backend can be read.", lookAtAgentConfig},
		{"queue", []string{"agent config"}, "The flow runs that wait for these labels, and those among them that cannot be started.", lookAtQueue},
	}
}

// patient is what the checks look at, and what they learn for those after them.
type patient struct {
	cfg     config.Doctor
	out     outside
	log     *slog.Logger
	cluster *kube.Client
	prefect *prefect1.Client
	// prefectTime and clusterTime know how the clocks of both go.
	prefectTime, clusterTime *dated
	// refused is why the Prefect API did not take the credential, nil if it did.
	refused error
	// labels are those of the agent, from its config at the backend if it has none.
	labels []string
}

// UnhealthyError says how many findings are failures. They are in the report.
type UnhealthyError struct{ Failed int }

func (e *UnhealthyError) Error() string {
	return fmt.Sprintf("failures found: %d", e.Failed)
}

// Doctor looks at what an agent of this configuration needs, and writes what it finds
// to out. It registers no agent, writes no state and creates nothing. The error is an
// *UnhealthyError if something is broken, and a *config.Error, or several joined, if
// the configuration itself cannot be used.
func Doctor(ctx context.Context, cfg config.Doctor, out io.Writer, log *slog.Logger) error {
	return doctor(ctx, cfg, out, outside{}, log)
}

func doctor(ctx context.Context, cfg config.Doctor, out io.Writer, o outside, log *slog.Logger) (err error) {
	o.secrets, log = concealed(cfg.Agent, log)
	defer func() { err = o.secrets.Error(err) }()
	if err := errors.Join(Usable(ctx, cfg.Agent), cfg.CheckCredential()); err != nil {
		return err
	}
	if !log.Enabled(ctx, slog.LevelDebug) {
		log = slog.New(slog.DiscardHandler) // the report says it
	}
	if o.prefect == nil {
		over, err := network(cfg.Agent)
		if err != nil {
			return err
		}
		o.prefect = over
	}
	p := &patient{cfg: cfg, log: log, prefectTime: &dated{next: o.prefect}, clusterTime: &dated{}, labels: cfg.Labels}
	o.prefect = p.prefectTime
	p.out = o
	if p.prefect, err = connectPrefect(cfg.Agent, o, log); err != nil {
		return err
	}
	r := newReport(cfg, out, o.secrets)
	if err := examine(ctx, Checks(), p, r.add); err != nil {
		return err
	}
	return r.finish()
}

// examine makes the checks in their order and gives each finding away. Checks that
// need one that failed are not made.
func examine(ctx context.Context, checks []Check, p *patient, found func(Finding) error) error {
	failed := map[string]string{} // the check that is to blame, by check
	for _, c := range checks {
		findings := blocked(c, failed)
		if findings == nil {
			findings = made(ctx, c, p)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for _, f := range findings {
			f.Check = c.Name
			if f.Verdict == Broken {
				failed[c.Name] = c.Name
			}
			if err := found(f); err != nil {
				return fmt.Errorf("write report: %w", err)
			}
		}
	}
	return nil
}

// made makes a check in time, even one that waits for what cannot be told to end,
// such as the program that a kubeconfig names for its credential.
func made(ctx context.Context, c Check, p *patient) []Finding {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	learned, done := *p, make(chan []Finding, 1)
	// Nobody may wait for this one. It has its own patient, and ends with the process.
	go func() { done <- c.look(ctx, &learned) }()
	var late <-chan time.Time
	for ended := ctx.Done(); ; {
		select {
		case findings := <-done:
			*p = learned
			return findings
		case <-ended:
			ended, late = nil, time.After(checkGrace)
		case <-late:
			return broken("see what it waits for, such as the program that the kubeconfig names for its credential", "no answer within %v", checkTimeout)
		}
	}
}

// blocked says that a check is not made, nil if it can be.
func blocked(c Check, failed map[string]string) []Finding {
	for _, need := range c.Needs {
		if culprit := failed[need]; culprit != "" {
			failed[c.Name] = culprit
			return []Finding{{Verdict: Skipped, Detail: fmt.Sprintf("not checked, since %q failed", culprit)}}
		}
	}
	return nil
}

func healthy(format string, args ...any) []Finding {
	return []Finding{{Verdict: Healthy, Detail: fmt.Sprintf(format, args...)}}
}

func doubtful(mend, format string, args ...any) []Finding {
	return []Finding{{Verdict: Doubtful, Detail: fmt.Sprintf(format, args...), Mend: mend}}
}

func broken(mend, format string, args ...any) []Finding {
	return []Finding{{Verdict: Broken, Detail: fmt.Sprintf(format, args...), Mend: mend}}
}

// failing is the finding of a request that did not succeed. What the error itself
// says of the mend counts more.
func failing(err error, mend string) []Finding {
	text := err.Error()
	if errors.Is(err, context.DeadlineExceeded) {
		text = fmt.Sprintf("no answer within %v: %s", checkTimeout, text)
	}
	if e, ok := errors.AsType[*kube.Error](err); ok && e.Mend != "" {
		mend, text = e.Mend, strings.TrimSuffix(text, ". "+e.Mend)
	}
	return broken(mend, "%s", text)
}

// shown is an address without the password that it may hold.
func shown(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "the Prefect API"
	}
	return u.Redacted()
}
