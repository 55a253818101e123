package internal_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/yaml"
)

// The admission policy of docs/security.md has no key that Kubernetes does not know,
// and its binding binds it.
func TestSecurityPolicy(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(text)
	if block == nil {
		t.Fatal("no block of YAML")
	}
	first, second, _ := strings.Cut(string(block[1]), "---\n")
	var policy admissionv1.ValidatingAdmissionPolicy
	var binding admissionv1.ValidatingAdmissionPolicyBinding
	if err := yaml.UnmarshalStrict([]byte(dedent(first)), &policy); err != nil {
		t.Error(err)
	}
	if err := yaml.UnmarshalStrict([]byte(dedent(second)), &binding); err != nil {
		t.Error(err)
	}
	if binding.Spec.PolicyName != policy.Name || policy.Name == "" || len(policy.Spec.Validations) == 0 {
		t.Errorf("policy %q with %d rules is bound as %q", policy.Name, len(policy.Spec.Validations), binding.Spec.PolicyName)
	}
}

// dedent removes the indentation of a list's item.
func dedent(text string) string { return strings.ReplaceAll("\n"+text, "\n   ", "\n") }
