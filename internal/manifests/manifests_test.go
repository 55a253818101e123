package manifests_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"pgregory.net/rapid"
	kjson "sigs.k8s.io/json"

	"github.com/prefect-kube/prefect-kube/internal/manifests"
)

var update = flag.Bool("update", false, "write the golden files")

// TestOurs shows what is printed for the arguments of recorded cases.
func TestOurs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ version, name string }{
		{manifests.Version0110, "combo-readme-example"},
		{manifests.Version0110, "no-arguments"},
		{manifests.Version0110, "backend-server-without-api"},
		{manifests.Version141, "combo-1x-example"},
		{manifests.Version141, "agent-config-id-with-space"},
		{manifests.Version141, "env-dollar"},
		{manifests.Version141, "labels-special-characters"},
	} {
		data := goldenOptions(t, c.version, c.name)
		trees, err := manifests.Ours(data)
		if err != nil {
			t.Fatal(err)
		}
		text, err := manifests.YAML(trees)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, c.version+"-"+c.name, string(text))
	}
}

// goldenOptions are those of a case of the corpus in this repository.
func goldenOptions(t *testing.T, version, name string) manifests.Options {
	t.Helper()
	o, _, err := vectorsIn(t, filepath.Join("..", "..", "conformance"), version)[name].options(version)
	if err != nil {
		t.Fatal(err)
	}
	o.ImageTag = "1.2.3"
	return o
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name+".yaml")
	if *update {
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o750), os.WriteFile(file, []byte(got), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// TestOursForEveryVector: what install accepts for a case decodes strictly into
// Kubernetes' types, stays in one namespace and holds no credential outside of a
// Secret; what it refuses names the argument.
func TestOursForEveryVector(t *testing.T) {
	t.Parallel()
	for folder, version := range folders(t, root()) {
		for name, v := range vectorsOf(t, filepath.Join(root(), folder)) {
			o, _, err := v.options(version)
			if err != nil {
				continue // Reference's business
			}
			trees, err := manifests.Ours(o)
			if err != nil {
				if e, ok := errors.AsType[*manifests.ArgumentError](err); !ok || e.Argument == "" {
					t.Errorf("%s/%s: %v", version, name, err)
				}
				continue
			}
			checkOurs(t, version+"/"+name, o, trees)
		}
	}
}

func checkOurs(t *testing.T, name string, o manifests.Options, trees []manifests.Tree) {
	t.Helper()
	namespace := o.Namespace
	if namespace == "" {
		namespace = "default"
	}
	for i, tree := range trees {
		kind, _ := tree["kind"].(string)
		text, err := manifests.YAML([]manifests.Tree{tree})
		if err != nil {
			t.Fatal(err)
		}
		if err := decodes(kind, printed(t, trees)[i]); err != nil {
			t.Errorf("%s: %s: %v", name, kind, err)
		}
		if got := tree["metadata"].(manifests.Tree)["namespace"]; got != namespace {
			t.Errorf("%s: %s: got namespace %v, want %s (D-39)", name, kind, got, namespace)
		}
		if kind != "Secret" && o.Credential != "" && strings.Contains(string(text), "value: "+o.Credential) {
			t.Errorf("%s: %s holds the credential (D-36)", name, kind)
		}
		if !o.RBAC && strings.Contains(string(text), "serviceAccount") {
			t.Errorf("%s: %s names a service account without being asked to", name, kind)
		}
	}
}

// decodes reads a document as the API server does with fieldValidation=Strict.
func decodes(kind string, document any) error {
	target := map[string]any{
		"Deployment": &appsv1.Deployment{}, "Secret": &corev1.Secret{}, "ServiceAccount": &corev1.ServiceAccount{},
		"Role": &rbacv1.Role{}, "RoleBinding": &rbacv1.RoleBinding{},
	}[kind]
	if target == nil {
		return errors.New("no such kind")
	}
	problems, err := kjson.UnmarshalStrict([]byte(asJSON(document)), target)
	return errors.Join(append(problems, err)...)
}

// TestDefects holds what is mended, by defect.
func TestDefects(t *testing.T) {
	t.Parallel()
	o := goldenOptions(t, manifests.Version0110, "combo-readme-example")
	o.API, o.EnvVars = "", []manifests.EnvVar{{Name: "A__b", Value: "true"}, {Name: "D", Value: "$(HOME) $$"}}
	for name, c := range map[string]struct{ with, without string }{
		"D-04":                  {`value: '{"A__b": "true", "D": "$$(HOME) $$$$"}'`, "ENV_VARS__"},
		"D-09 api":              {"value: http://configured:4200", "api.prefect.io"},
		"D-36 agent-credential": {"secretKeyRef:", "value: TKN"},
		"D-38":                  {"rbac.authorization.k8s.io/v1\n", "v1beta1"},
		"D-39 account":          {"serviceAccountName: prefect-agent", "  name: default"},
		"D-40 rules":            {"- pods/log", "- '*'"},
		"D-41 limits":           {"memory: 256Mi", "cpu: 100m"},
		"D-13":                  {"terminationGracePeriodSeconds: 90", "never there"},
		"D-14":                  {"path: /readyz", "/api/health"},
		"D-37":                  {"name: PREFECT__BACKEND", "never there"},
		"- agent-security":      {"runAsNonRoot: true", "never there"},
		"- image, no shell":     {"image: prefect-kube/prefect-kube:1.2.3", "/bin/bash"},
		"- resource manager":    {"- resource-manager\n", "python"},
	} {
		text := ours(t, o)
		if !strings.Contains(text, c.with) || strings.Contains(text, c.without) {
			t.Errorf("%s: want %q and no %q in\n%s", name, c.with, c.without, text)
		}
		kept := o
		if _, keep, ok := strings.Cut(name, " "); ok && strings.HasPrefix(name, "D-") {
			kept.Keep = []string{keep}
			if text := ours(t, kept); strings.Contains(text, c.with) || !strings.Contains(text, strings.TrimPrefix(c.without, "- ")) {
				t.Errorf("--keep %s: want %q instead of %q in\n%s", keep, c.without, c.with, text)
			}
		}
	}
	if text := ours(t, o); strings.Count(text, "PREFECT__BACKEND") != 2 {
		t.Errorf("the resource manager has no backend (D-37)\n%s", text)
	}
}

func ours(t *testing.T, o manifests.Options) string {
	t.Helper()
	trees, err := manifests.Ours(o)
	if err != nil {
		t.Fatal(err)
	}
	text, err := manifests.YAML(trees)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestChangesAreSound(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range manifests.Changes() {
		if c.Name == "" || c.What == "" || seen[c.Name] {
			t.Errorf("%+v is not complete, or there twice", c)
		}
		seen[c.Name] = true
		o := manifests.Options{Version: manifests.Version141, Credential: "K", API: "http://a:1", Backend: "server", RBAC: true}
		plain := ours(t, o)
		o.Keep = []string{c.Name}
		trees, err := manifests.Ours(o)
		if (err != nil) != c.Required {
			t.Errorf("--keep %s: %v", c.Name, err)
		}
		if err == nil && c.Name != "api" && cmp.Equal(plain, string(must(manifests.YAML(trees)))) {
			t.Errorf("--keep %s changes nothing", c.Name)
		}
	}
}

func must(text []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return text
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for argument, set := range map[string]func(*manifests.Options){
		"namespace":            func(o *manifests.Options) { o.Namespace = "A_" },
		"image-pull-secrets":   func(o *manifests.Options) { o.ImagePullSecrets = "ok, Not" },
		"service-account-name": func(o *manifests.Options) { o.ServiceAccountName = "a b" },
		"mem-request":          func(o *manifests.Options) { o.MemRequest = "1Gb" },
		"mem-limit":            func(o *manifests.Options) { o.MemLimit = "-1" },
		"cpu-request":          func(o *manifests.Options) { o.CPURequest = "a lot" },
		"cpu-limit":            func(o *manifests.Options) { o.CPULimit = "1e999999999" },
		"image-pull-policy":    func(o *manifests.Options) { o.ImagePullPolicy = "always" },
		"backend":              func(o *manifests.Options) { o.Backend = "bogus" },
		"label":                func(o *manifests.Options) { o.Labels = []string{"a", ""} },
		"env":                  func(o *manifests.Options) { o.EnvVars = []manifests.EnvVar{{Name: "A=B", Value: "hunter2"}} },
		"api":                  func(o *manifests.Options) { o.API = "http://\xff" },
		"key":                  func(o *manifests.Options) { o.Credential = "hunter2\n" },
		"tenant-id":            func(o *manifests.Options) { o.TenantID = "\x00" },
		"agent-config-id":      func(o *manifests.Options) { o.AgentConfigID = "\x1b[0m" },
		"image":                func(o *manifests.Options) { o.Image = "my image" },
		"credential-secret":    func(o *manifests.Options) { o.CredentialFrom.Secret = "only" },
		"keep":                 func(o *manifests.Options) { o.Keep = []string{"probes"} },
	} {
		o := manifests.Options{Version: manifests.Version141, Backend: "server", API: "http://a:1"}
		set(&o)
		_, err := manifests.Ours(o)
		e, ok := errors.AsType[*manifests.ArgumentError](err)
		if !ok || e.Argument != argument || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v", argument, err)
		}
	}
	if _, err := manifests.Reference(manifests.Options{Version: "0.12.0"}); err == nil || !strings.Contains(err.Error(), "1.2.4") {
		t.Errorf("got %v, want an error that names the versions", err)
	}
}

// TestRoleHoldsPermissions: one rule for each resource, with the verbs of Permissions and no others.
func TestRoleHoldsPermissions(t *testing.T) {
	t.Parallel()
	want := map[string][]string{}
	for _, p := range manifests.Permissions("flows") {
		key := p.Group + "/" + p.Resource + "/" + p.Name
		want[key] = append(want[key], p.Verb)
		if p.Without == "" || p.Verb == "*" || slices.Contains(want[key][:len(want[key])-1], p.Verb) {
			t.Errorf("%+v is not complete, or there twice", p)
		}
	}
	trees, err := manifests.Ours(manifests.Options{Version: manifests.Version141, Backend: "server", Namespace: "flows", RBAC: true})
	if err != nil {
		t.Fatal(err)
	}
	var role rbacv1.Role
	if problems, err := kjson.UnmarshalStrict([]byte(asJSON(trees[1])), &role); err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	got := map[string][]string{}
	for _, r := range role.Rules {
		got[strings.Join(r.APIGroups, ",")+"/"+strings.Join(r.Resources, ",")+"/"+strings.Join(r.ResourceNames, ",")] = r.Verbs
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestYAMLKeepsTexts: whatever a text looks like, a reader gets the same text.
func TestYAMLKeepsTexts(t *testing.T) {
	t.Parallel()
	check := func(t rapid.TB, text string) {
		trees := []manifests.Tree{{"kind": text, "list": []any{text}, "object": manifests.Tree{"key": text}}}
		out, err := manifests.YAML(trees)
		if err != nil {
			t.Fatal(err)
		}
		got, err := documents(string(out))
		if err != nil {
			t.Fatalf("%q: %v in\n%s", text, err, out)
		}
		if diff := cmp.Diff([]any{trees[0]}, got); diff != "" {
			t.Fatalf("%q: (-want +got)\n%s", text, diff)
		}
	}
	for _, text := range []string{
		"", "n", "Y", "yes", "On", "~", "null", "1", "0o17", "017", "1e3", "1_000", ".5", "1:30", "2020-05-14", "0x1f", "---", "--- a", "...", "<<", "=", "!x", "&a", "*a",
		"a: b", "a #b", "- a", " lead", "trail ", "a\n", "\na", "a\r\nb", "\t", "\u00a0", "\u2028", "\ufeff", "\u0085", "\x7f", "\x00", "日本 😀", strings.Repeat("word ", 60), strings.Repeat("x", 200) + "  y",
	} {
		check(t, text)
	}
	rapid.Check(t, func(t *rapid.T) { check(t, rapid.String().Draw(t, "text")) })
}

// TestPythonTexts compares with what CPython 3.13 prints.
func TestPythonTexts(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]string{
		"plain":         {`['plain']`, `"plain"`},
		"it's":          {`["it's"]`, `"it's"`},
		`"`:             {`['"']`, `"\""`},
		`'"`:            {`['\'"']`, `"'\""`},
		"\\":            {`['\\']`, `"\\"`},
		"\a\b\f\n\r\t":  {`['\x07\x08\x0c\n\r\t']`, `"\u0007\b\f\n\r\t"`},
		"\x7f\u00ad":    {`['\x7f\xad']`, `"\u007f\u00ad"`},
		"\u200b\u2028":  {`['\u200b\u2028']`, `"\u200b\u2028"`},
		"é\u00a0\u3000": {`['é\xa0\u3000']`, `"\u00e9\u00a0\u3000"`},
		"😀\U000e0001":   {`['😀\U000e0001']`, `"\ud83d\ude00\udb40\udc01"`},
	} {
		o := manifests.Options{Version: manifests.Version141, Labels: []string{text}, EnvVars: []manifests.EnvVar{{Name: "A", Value: "gone"}, {Name: text, Value: text}, {Name: "A", Value: "last"}}}
		trees, err := manifests.Reference(o)
		if err != nil {
			t.Fatal(err)
		}
		env := environment(trees[0])
		if got := env["PREFECT__CLOUD__AGENT__LABELS"]; got != want[0] {
			t.Errorf("%q: got %s, want %s", text, got, want[0])
		}
		if got, want := env["PREFECT__CLOUD__AGENT__ENV_VARS"], `{"A": "last", `+want[1]+": "+want[1]+"}"; got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

// environment is the env of the agent's container.
func environment(deployment manifests.Tree) map[string]any {
	pod := deployment["spec"].(manifests.Tree)["template"].(manifests.Tree)["spec"].(manifests.Tree)
	env := map[string]any{}
	for _, entry := range pod["containers"].([]any)[0].(manifests.Tree)["env"].([]any) {
		env[entry.(manifests.Tree)["name"].(string)] = entry.(manifests.Tree)["value"]
	}
	return env
}

// TestImage: what version there is decides the tag.
func TestImage(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]manifests.Options{
		"prefect-kube/prefect-kube:v1.2.3-4-gabc": {ImageTag: "v1.2.3-4-gabc"},
		"prefect-kube/prefect-kube:latest":        {ImageTag: "v0.0.0-2026+dirty"},
		"registry:5000/x/y@sha256:0a":             {ImageTag: "1", Image: "registry:5000/x/y@sha256:0a"},
	} {
		o.Version, o.Backend = manifests.Version141, "server"
		if text := ours(t, o); !strings.Contains(text, "image: "+want+"\n") {
			t.Errorf("want image %s in\n%s", want, text)
		}
	}
}
