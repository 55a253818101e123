package manifests

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
)

// ArgumentError is an argument that no object can be made of. It shows no value:
// any may be a credential that was put in the wrong place.
type ArgumentError struct {
	// Argument is its name as a flag, without dashes.
	Argument string
	// Problem says what is wrong, Mend what to write instead.
	Problem, Mend string
}

func (e *ArgumentError) Error() string {
	if e.Mend == "" {
		return e.Argument + ": " + e.Problem
	}
	return e.Argument + ": " + e.Problem + "; " + e.Mend
}

// Validate reports what the API server, or the agent at its start, would refuse
// in our objects. The error is an *ArgumentError, or several joined.
func (o Options) Validate() error {
	return errors.Join(
		name("namespace", o.Namespace, validation.IsDNS1123Label),
		o.validateSecrets(),
		name("service-account-name", o.ServiceAccountName, validation.IsDNS1123Subdomain),
		quantity("mem-request", o.MemRequest), quantity("mem-limit", o.MemLimit),
		quantity("cpu-request", o.CPURequest), quantity("cpu-limit", o.CPULimit),
		oneOf("image-pull-policy", o.ImagePullPolicy, "Always", "IfNotPresent", "Never"),
		oneOf("backend", o.Backend, "cloud", "server"),
		o.validateLabels(), o.validateVars(), o.validateTexts(), o.validateImage(), o.validateKeep(),
	)
}

func name(argument, value string, check func(string) []string) error {
	if value == "" || len(check(value)) == 0 {
		return nil
	}
	return &ArgumentError{
		Argument: argument, Problem: "is not a name in Kubernetes",
		Mend: "use lower-case letters, digits and -, with a letter or a digit at both ends, such as my-name",
	}
}

func (o Options) validateSecrets() error {
	var problems []error
	for _, secret := range o.pullSecrets() {
		problems = append(problems, name("image-pull-secrets", secret, validation.IsDNS1123Subdomain))
	}
	if from := o.CredentialFrom; (from != SecretKey{}) {
		if from.Secret == "" || from.Key == "" {
			problems = append(problems, &ArgumentError{Argument: "credential-secret", Problem: "want the name of a Secret and a key in it", Mend: "write NAME/KEY"})
		}
		problems = append(problems,
			name("credential-secret", from.Secret, validation.IsDNS1123Subdomain), name("credential-secret", from.Key, validation.IsConfigMapKey))
	}
	return errors.Join(problems...)
}

// number bounds what is parsed: an exponent of nine digits would keep the parser
// busy for ever.
var number = regexp.MustCompile(`^[+-]?[0-9.]{1,30}([a-zA-Z]{0,2}|[eE][+-]?[0-9]{1,2})$`)

func parseQuantity(text string) (resource.Quantity, error) {
	if !number.MatchString(text) {
		return resource.Quantity{}, resource.ErrFormatWrong
	}
	return resource.ParseQuantity(text)
}

func quantity(argument, value string) error {
	if value == "" {
		return nil
	}
	q, err := parseQuantity(value)
	if err != nil {
		return &ArgumentError{
			Argument: argument, Problem: "is not a quantity", Mend: "write one such as 500m, 2, 256Mi or 1Gi",
		}
	}
	if q.Sign() < 0 {
		return &ArgumentError{Argument: argument, Problem: "is less than nothing", Mend: "write one such as 500m, 2, 256Mi or 1Gi"}
	}
	return nil
}

// Conflicts says what makes Jobs that the API server refuses unless a flow says
// otherwise: a request above its limit.
func (o Options) Conflicts() []string {
	var found []string
	for _, pair := range [][3]string{{"mem", o.MemRequest, o.MemLimit}, {"cpu", o.CPURequest, o.CPULimit}} {
		asked, errAsked := parseQuantity(pair[1])
		bound, errBound := parseQuantity(pair[2])
		if errAsked == nil && errBound == nil && asked.Cmp(bound) > 0 {
			found = append(found, fmt.Sprintf("--%s-request %s is more than --%s-limit %s: Kubernetes refuses such Jobs, so every flow has to set its own", pair[0], pair[1], pair[0], pair[2]))
		}
	}
	return found
}

func oneOf(argument, value string, possible ...string) error {
	if value == "" || slices.Contains(possible, value) {
		return nil
	}
	return &ArgumentError{
		Argument: argument, Problem: "is not a possible value", Mend: "use one of " + strings.Join(possible, ", "),
	}
}

func (o Options) validateLabels() error {
	for _, label := range o.Labels {
		if label == "" || !printable(label) {
			return &ArgumentError{Argument: "label", Problem: "a label is empty or holds what cannot be printed", Mend: "leave it out, or name one"}
		}
	}
	return nil
}

func (o Options) validateVars() error {
	var problems []error
	for i, v := range o.EnvVars {
		if len(validation.IsRelaxedEnvVarName(v.Name)) > 0 {
			problems = append(problems, &ArgumentError{
				Argument: "env", Problem: fmt.Sprintf("the name of variable %d is not one in Kubernetes", i+1), Mend: "use letters, digits and _, with a letter or _ at the beginning",
			})
		} else if !utf8.ValidString(v.Value) {
			problems = append(problems, &ArgumentError{Argument: "env", Problem: fmt.Sprintf("the value of variable %d is not UTF-8", i+1), Mend: "pass it in another form, such as base64"})
		}
	}
	return errors.Join(problems...)
}

// printable reports whether a text is UTF-8 without control characters.
func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}

func (o Options) validateTexts() error {
	var problems []error
	for _, v := range []EnvVar{{"agent-config-id", o.AgentConfigID}, {"tenant-id", o.TenantID}, {"api", o.API}} {
		if !printable(v.Value) {
			problems = append(problems, &ArgumentError{Argument: v.Name, Problem: "holds what cannot be printed", Mend: "write it anew"})
		}
	}
	if !printable(o.Credential) {
		argument := "key"
		if o.legacy() {
			argument = "token"
		}
		problems = append(problems, &ArgumentError{Argument: argument, Problem: "holds what cannot be printed", Mend: "write it anew"})
	}
	return errors.Join(problems...)
}

var (
	tag       = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	reference = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._:/-]*(@[a-z0-9]+:[0-9a-fA-F]+)?$`)
)

func isTag(text string) bool { return tag.MatchString(text) }

func (o Options) validateImage() error {
	if o.Image == "" || reference.MatchString(o.Image) {
		return nil
	}
	return &ArgumentError{Argument: "image", Problem: "is not the name of an image", Mend: "write one such as prefecthq/prefect:1.4.1"}
}

func (o Options) validateKeep() error {
	var problems []error
	for _, name := range o.Keep {
		problems = append(problems, oneOf("keep", name, KeepNames()...))
	}
	return errors.Join(problems...)
}
