package jobspec_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/jobspec"
)

// hostile are templates in YAML that cost more than they look. They are seeds of
// FuzzTemplate, too.
func hostile() map[string]string {
	var laughs, merges strings.Builder
	laughs.WriteString("a: &a [x,x,x,x,x,x,x,x,x,x]\n")
	merges.WriteString("a: &a {x: 1}\n")
	for c := 'b'; c <= 'k'; c++ {
		name, before := string(c), string(c-1)
		laughs.WriteString(name + ": &" + name + " [" + strings.Repeat("*"+before+",", 10) + "]\n")
		merges.WriteString(name + ": &" + name + " {<<: [" + strings.Repeat("*"+before+",", 10) + "]}\n")
	}
	var nested, keys strings.Builder
	for i := range 300 {
		nested.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	for i := range 20_000 {
		fmt.Fprintf(&keys, "k%d: v\n", i)
	}
	limits := func(quantity string) string {
		return "spec: {template: {spec: {containers: [{resources: {limits: {cpu: " + quantity + "}}}]}}}"
	}
	const size = 200_000
	return map[string]string{
		"aliases":          laughs.String(),
		"merges":           merges.String(),
		"nested mappings":  nested.String(),
		"many keys":        keys.String(),
		"brackets":         strings.Repeat("[", size),
		"braces":           strings.Repeat("{a: ", size/4),
		"dashes":           strings.Repeat("- ", size/2),
		"questions":        strings.Repeat("? ", size/2),
		"comments":         strings.Repeat("#\n", size/2),
		"anchors":          strings.Repeat("- &a b\n", size/7),
		"tags":             "a: !" + strings.Repeat("x", size),
		"digits":           "a: " + strings.Repeat("9", size),
		"hex":              "a: 0x" + strings.Repeat("f", size),
		"base 60":          "a: 1" + strings.Repeat(":1", size/2),
		"float":            "a: 0." + strings.Repeat("0", size) + "1",
		"quotes":           `a: "` + strings.Repeat(`\u0041`, size/6) + `"`,
		"documents":        strings.Repeat("---\n", size/4),
		"small quantity":   limits("1E-99999999"),
		"large quantity":   limits("1e99999999"),
		"long quantity":    limits("'" + strings.Repeat("9", size) + "'"),
		"quantity in JSON": `{"spec":{"template":{"spec":{"overhead":{"cpu":` + strings.Repeat("9", size) + `},"volumes":[{"emptyDir":{"sizeLimit":"1E-99999999"}}]}}}}`,
		"long key":         strings.Repeat("k", size) + ": v",
	}
}

// TestHostileTemplates bounds what a template costs. The memory counts all that
// was ever allocated, so time is bounded with it.
func TestHostileTemplates(t *testing.T) {
	for name, text := range hostile() {
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err = jobspec.Job(templated(string(quoted)), agent(), attempt)
		runtime.ReadMemStats(&after)
		if err != nil {
			checkError(t, err)
		}
		if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 128 {
			t.Errorf("%s took %d MiB: %v", name, used, err)
		}
	}
}

func TestHostileRunConfigs(t *testing.T) {
	var keys strings.Builder
	for i := range 80_000 {
		fmt.Fprintf(&keys, `"k%d":1,`, i)
	}
	for name, config := range map[string]string{
		"keys":      `{"type":"KubernetesRun",` + keys.String() + `"x":1}`,
		"template":  `{"type":"KubernetesRun","job_template":{` + keys.String() + `"spec":1}}`,
		"pod":       `{"type":"KubernetesRun","job_template":{"spec":{"template":{"spec":{` + keys.String() + `"x":1}}}}}`,
		"variables": `{"type":"KubernetesRun","env":{` + keys.String() + `"x":1}}`,
		"labels":    `{"type":"KubernetesRun","labels":[` + strings.Repeat(`"",`, 300_000) + `""]}`,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := jobspec.Job(configRun(config), agent(), attempt)
		runtime.ReadMemStats(&after)
		if err != nil {
			checkError(t, err)
		}
		if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 256 {
			t.Errorf("%s took %d MiB: %.200v", name, used, err)
		}
	}
}

// TestHostileQuantities would take minutes if Kubernetes' reader saw them.
func TestHostileQuantities(t *testing.T) {
	t.Parallel()
	for quantity, works := range map[string]bool{
		"1E-99999999": false, "1e99999999": false, strings.Repeat("9", 1<<19): false, "1e1000": false, "1e3": true, "1E": true, "1Ei": true, "100m": true,
	} {
		_, _, err := jobspec.Job(configRun(`{"type":"KubernetesRun","cpu_limit":"`+quantity+`","env":{"A":"1E-99999999"}}`), agent(), attempt)
		if (err == nil) != works || err != nil && !strings.Contains(err.Error(), "is not a valid Quantity") {
			t.Errorf("%.20s: %v, want works %v", quantity, err, works)
		}
	}
}
