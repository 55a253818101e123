package main

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prefect-kube/prefect-kube/internal/app"
	"github.com/prefect-kube/prefect-kube/internal/config"
	"github.com/prefect-kube/prefect-kube/internal/jobspec"
	"github.com/prefect-kube/prefect-kube/internal/manifests"
)

// TestReference compares docs/reference.md with what the code says; -update
// writes it.
func TestReference(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "docs", "reference.md")
	want := reference()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/reference.md is out of date, run make golden (-want +got)\n%s", diff)
	}
}

// page collects Markdown.
type page struct{ strings.Builder }

func (p *page) text(paragraphs ...string) {
	for _, text := range paragraphs {
		p.WriteString(text + "\n\n")
	}
}

func (p *page) table(head []string, rows [][]string) {
	p.row(head)
	p.WriteString(strings.Repeat("|---", len(head)) + "|\n")
	for _, row := range rows {
		p.row(row)
	}
	p.WriteString("\n")
}

func (p *page) row(cells []string) {
	for _, cell := range cells {
		p.WriteString("| " + strings.ReplaceAll(cell, "|", "\\|") + " ")
	}
	p.WriteString("|\n")
}

func reference() string {
	p := &page{}
	p.text("# Reference", "Generated from the code by `make golden`; a test compares it.",
		"- [Where settings come from](#where-settings-come-from)\n- [Agent](#agent)\n- [Install](#install)\n- [Render](#render)\n- [Doctor](#doctor)\n- [Resource manager](#resource-manager)\n- [Development backend](#development-backend)\n"+
			"- [Other variables](#other-variables)\n- [Keys without effect](#keys-without-effect)\n- [Exit codes](#exit-codes)\n- [Differences from the Python agent](#differences-from-the-python-agent)")
	p.sources()
	p.agent()
	p.others()
	p.ineffective()
	p.codes()
	p.changes()
	return strings.TrimRight(p.String(), "\n") + "\n"
}

func (p *page) sources() {
	p.text("## Where settings come from",
		"The later wins: the default, `config.toml`, `backend.toml`, environment variables, flags. What is empty counts as not set, and so does a file that is not there.",
	)
	p.table([]string{"File", "Holds"}, [][]string{
		{"`~/.prefect/config.toml`, or what `PREFECT__USER_CONFIG_PATH` names", "Prefect's own keys, and ours below `[kube]`. An unknown key of ours is an error; unknown keys of Prefect are passed over."},
		{"`~/.prefect/backend.toml`, or what `PREFECT__BACKEND_CONFIG_PATH` names", "What `prefect backend server` or `prefect backend cloud` wrote. It may hold any key."},
		{"`auth.toml` in `home_dir`", "API key and tenant that `prefect auth login` of 0.15 and later stored, one table for each API. Used by `agent kubernetes start` for what is not set otherwise."},
		{"`client/<address>/settings.toml` in `home_dir`", "Token that `prefect auth login` before 0.15 stored. Used by `agent start kubernetes` on Prefect Cloud if no token is set, and only good for an agent if it has RUNNER scope; \"prefect auth login\" itself stores one with USER scope, which the agents of 0.x refuse as well. `active_tenant_id` has no effect: a token with RUNNER scope belongs to one tenant. Agents of 1.x do not read this file."},
	})
	p.text(
		"Each key `a.b` of `config.toml` is also the variable `PREFECT__A__B`, and each key `kube.a_b` the variable `PREFECT_KUBE_A_B` and the flag `--a-b`. The variables of flow runs are `PREFECT__CLOUD__AGENT__ENV_VARS`, a JSON object or Python dict, or one `PREFECT__CLOUD__AGENT__ENV_VARS__NAME` for each.",
		"In files and variables, `$NAME` and `${NAME}` stand for variables of the environment, `~` at the beginning for the home directory, and `${a.b}` for another key. Credentials, labels and variables of flow runs in environment variables are taken literally. All values are text: what looks like a number, a switch or a list is what it looks like only where the setting is one.",
		"Lists are written `[\"a\", \"b\"]`, `['a', 'b']` or `a,b`; `--label a,b` is one label. A duration is `90s`, `2m` or a number of seconds. A credential may stand in a file that the variable with `_FILE` at its end names; it is read again for every use.",
	)
}

func (p *page) agent() {
	p.text("## Agent", "`prefect-kube agent start kubernetes` has the flags of Prefect 0.11.0, `prefect-kube agent kubernetes start` those of 1.4.1. Where the third column names one of them, only that form has the setting or the flag.")
	var rows [][]string
	for _, s := range config.AgentSettings(config.Core0) {
		rows = append(rows, settingRow(s, form(s, config.AgentSettings(config.Core1), "0.11.0")))
	}
	for _, s := range config.AgentSettings(config.Core1) {
		row := settingRow(s, form(s, config.AgentSettings(config.Core0), "1.4.1"))
		if !slices.ContainsFunc(rows, func(r []string) bool { return slices.Equal(r, row) }) {
			rows = append(rows, row)
		}
	}
	p.table([]string{"Flag", "Variable", "Form", "Key in config.toml", "Default", "Meaning"}, rows)
	var foreign []string
	for _, f := range foreignFlags() {
		foreign = append(foreign, flagText(f))
	}
	p.text("`agent start kubernetes` also accepts, as 0.11.0 does, the options of other kinds of agents. They have no effect, and a warning says so: "+strings.Join(foreign, ", ")+".",
		"A hostname label is added by local agents only; an agent on Kubernetes never had one.")
}

// form names the only form that has a setting with these flags.
func form(s config.Setting, others []config.Setting, name string) string {
	if slices.ContainsFunc(others, func(o config.Setting) bool { return cmp.Equal(s, o) }) {
		return ""
	}
	return name
}

func flagText(f config.Flag) string {
	if f.Short != "" {
		return "`--" + f.Name + "`, `-" + f.Short + "`"
	}
	return "`--" + f.Name + "`"
}

func flagTexts(flags []config.Flag) string {
	var texts []string
	for _, f := range flags {
		texts = append(texts, flagText(f))
	}
	return strings.Join(texts, ", ")
}

func settingRow(s config.Setting, form string) []string {
	var variables []string
	for _, name := range append(slices.Clone(s.Env), s.Variable(), s.FileVariable()) {
		if name != "" {
			variables = append(variables, code(name))
		}
	}
	help := []string{s.Help}
	for _, f := range s.Flags {
		if f.Help != "" {
			help = append(help, code("--"+f.Name)+": "+f.Help)
		}
	}
	standard := code(s.Default)
	if s.Kind == config.Integer {
		standard = "" // the meaning says it
	}
	return []string{flagTexts(s.Flags), strings.Join(variables, ", "), form, code(s.Key), standard, strings.Join(help, " ")}
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

func (p *page) others() {
	p.text("## Install", "`prefect-kube agent install kubernetes` (0.11.0) and `prefect-kube agent kubernetes install` (1.4.1) print what `kubectl apply -f -` takes. Only flags count, and the backend with its address: what else is configured belongs to this machine.")
	var rows [][]string
	for _, core := range []string{config.Core0, config.Core1} {
		other := map[string]string{config.Core0: config.Core1, config.Core1: config.Core0}[core]
		for _, s := range config.InstallSettings(core) {
			row := []string{flagTexts(s.Flags), form(s, config.InstallSettings(other), core), standardOf(s), s.Help}
			if len(s.Flags) > 0 && !slices.ContainsFunc(rows, func(r []string) bool { return slices.Equal(r, row) }) {
				rows = append(rows, row)
			}
		}
	}
	p.table([]string{"Flag", "Form", "Default", "Meaning"}, rows)
	p.text("## Render", "`prefect-kube render FLOW_RUN` shows the Job of a flow run. It has the flags of the agent, and:")
	p.beside(config.RenderSettings())
	p.doctor()
	for _, c := range []struct {
		title, about string
		settings     []config.Setting
	}{
		{"Resource manager", "`prefect-kube resource-manager` reports how Jobs end and deletes finished ones, as the second container of 0.11.0 does. Every agent does the same by itself.", config.ResourceManagerSettings()},
		{"Development backend", "`prefect-kube dev` is a Prefect backend for development and tests.", config.DevSettings()},
	} {
		p.text("## "+c.title, c.about)
		rows = nil
		for _, s := range c.settings {
			row := settingRow(s, "")
			rows = append(rows, slices.Delete(row, 2, 3))
		}
		p.table([]string{"Flag", "Variable", "Key in config.toml", "Default", "Meaning"}, rows)
	}
	p.text("## Other variables")
	p.table([]string{"Variable", "Meaning"}, [][]string{
		{"`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`", "Proxies for the Prefect API and for job templates elsewhere, also in lower case. `ALL_PROXY` stands in for those that are not set. Addresses of this machine are never asked for through one."},
		{"`KUBERNETES_SERVICE_HOST`, `KUBERNETES_SERVICE_PORT`", "Set by Kubernetes in every pod: the pod's own service account is used, and only without one a kubeconfig: all files of `KUBECONFIG`, or `~/.kube/config`. Which one it is stands in the log."},
		{"`AWS_ACCESS_KEY_ID`, `AWS_PROFILE`, `AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_CA_BUNDLE` and the others of the AWS SDKs", "How job templates at `s3://BUCKET/KEY` are read; so are the files below `~/.aws`, and the identity of the pod or machine. `AWS_CA_BUNDLE` is trusted beside `REQUESTS_CA_BUNDLE`."},
		{"`GOOGLE_APPLICATION_CREDENTIALS`, `STORAGE_EMULATOR_HOST`", "How job templates at `gs://BUCKET/OBJECT` are read; without them, the identity of the pod or machine."},
		{"`NO_COLOR`", "Log lines on a terminal have no colours if it is set to anything."},
	})
}

// beside lists the settings that a command has and the agent has not.
func (p *page) beside(settings []config.Setting) {
	var rows [][]string
	known := flagsOf(config.AgentSettings(config.Core0), config.AgentSettings(config.Core1))
	for _, s := range settings {
		if !slices.ContainsFunc(s.Flags, func(f config.Flag) bool { return known[f.Name] }) {
			rows = append(rows, []string{flagTexts(s.Flags), standardOf(s), s.Help})
		}
	}
	p.table([]string{"Flag", "Default", "Meaning"}, rows)
}

func (p *page) doctor() {
	p.text("## Doctor", "`prefect-kube doctor` looks at what an agent needs. It has the flags of the agent, and:")
	p.beside(config.DoctorSettings())
	p.text("It registers no agent, writes no state and creates nothing. Each finding is `ok`, `warn` or `fail`, with the mend below it; a check whose need failed is a `skip`. What may not be read is said and is no failure. The exit code is 1 if something fails. In JSON a report is `{\"findings\": [{\"check\", \"verdict\", \"detail\", \"mend\"}], \"failed\": 0}`.")
	var rows [][]string
	for _, c := range app.Checks() {
		rows = append(rows, []string{c.Name, c.About, strings.Join(c.Needs, ", ")})
	}
	p.table([]string{"Check", "Looks at", "Needs"}, rows)
}

func standardOf(s config.Setting) string {
	if s.Kind == config.Bool && s.Default == "false" {
		return ""
	}
	return code(s.Default)
}

func flagsOf(lists ...[]config.Setting) map[string]bool {
	known := map[string]bool{}
	for _, s := range slices.Concat(lists...) {
		for _, f := range s.Flags {
			known[f.Name] = true
		}
	}
	return known
}

func (p *page) ineffective() {
	p.text("## Keys without effect", "These keys of Prefect's configuration change nothing here. A warning at the start says so if one is set to something else than Prefect's default.")
	var rows [][]string
	for _, core := range []string{config.Core0, config.Core1} {
		other := map[string]string{config.Core0: config.Core1, config.Core1: config.Core0}[core]
		for _, k := range config.IneffectiveKeys(core) {
			of := core
			if slices.Contains(config.IneffectiveKeys(other), k) {
				of = ""
			}
			row := []string{code(k.Key), of, code(k.Default), k.Reason}
			if !slices.ContainsFunc(rows, func(r []string) bool { return slices.Equal(r, row) }) {
				rows = append(rows, row)
			}
		}
	}
	p.table([]string{"Key", "Form", "Prefect's default", "Reason"}, rows)
}

func (p *page) codes() {
	p.text("## Exit codes")
	p.table([]string{"Code", "Meaning"}, [][]string{
		{strconv.Itoa(exitClean), "A clean stop: the last of `--max-polls` is done, or one SIGTERM, SIGINT or SIGHUP was answered. Starts under way are finished first."},
		{strconv.Itoa(exitFailure), "A failure at run time, a check of `doctor` that fails, or a second signal."},
		{strconv.Itoa(exitUsage), "Wrong usage or configuration: an unknown option, a missing value, a file that cannot be read, no credential for Prefect Cloud. One line for each problem says what to write instead."},
	})
}

func (p *page) changes() {
	p.text("## Differences from the Python agent",
		"The Job is built as the Python agent of the flow's time builds it, and then changed as follows. `--keep NAME` leaves one difference out; `--reference` of `render` and `install` prints the Python agent's own objects. D-numbers are those of [defects.md](defects.md).")
	var kept, fixed [][]string
	for _, k := range jobspec.Keeps() {
		kept = append(kept, []string{code(k.Name), k.Defect, k.Does})
	}
	for _, c := range jobspec.Changes() {
		if c.Fixed {
			fixed = append(fixed, []string{code(c.Name), c.Defect, c.Does})
		}
	}
	p.table([]string{"Name for `--keep`", "Defect", "What we do"}, kept)
	p.text("That a run starts exactly once rests on these, so they cannot be left out:")
	p.table([]string{"Difference", "Defect", "What we do"}, fixed)
	p.manifests()
	p.releases()
}

func (p *page) releases() {
	p.text("## Defaults of Jobs by release",
		"What a Job has where nobody says anything else changed from release to release of the Python agents. A Job follows the flow's own release, which is its core version. "+
			"For a flow with an environment that is every row. For a flow with a run config it is what the built-in template has and the image; its variables are those of 1.4.1, which flows of every release understand. "+
			"A flow without a known release counts as one of 0.11.0 if it has an environment, and of 1.4.1 otherwise. `render --reference` prints the Job of one release's agent, and that has every row.")
	var rows [][]string
	for _, d := range jobspec.Defaults() {
		rows = append(rows, []string{string(d.Kind), d.Name, d.Value, d.Since, d.Until})
	}
	p.table([]string{"Flow with", "What", "Value", "From", "Until before"}, rows)
}

func (p *page) manifests() {
	var kept, required [][]string
	for _, c := range manifests.Changes() {
		if row := []string{code(c.Name), c.Defect, c.What}; c.Required {
			required = append(required, row)
		} else {
			kept = append(kept, row)
		}
	}
	p.text("`install` has names of its own:")
	p.table([]string{"Name for `--keep` of `install`", "Defect", "What we do"}, kept)
	p.text("What `install` prints differs in this too, which cannot be left out:")
	p.table([]string{"Difference", "Defect", "What we do"}, required)
}
