package jobspec

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// check is what one of Prefect's marshmallow fields asks of a value.
type check uint8

const (
	isText   check = iota // fields.String
	isFlag                // fields.Bool
	isNumber              // fields.Integer
	isTexts               // fields.List of String
	isNumbers
	isObject  // fields.Dict
	isTextMap // fields.Dict with values of String
	isObjects // fields.List of Dict
	isAny     // JSONCompatible
)

// rule is one key of a schema: whether it may be null and must be there.
type rule struct {
	key            string
	check          check
	null, required bool
}

// storageRules are serialization/storage.py of Prefect 1.4.1, which 0.11.0 agrees
// with about Docker, and what the classes' constructors need.
func storageRules(kind string) []rule {
	own := map[string]string{
		"Azure":       "container! connection_string_secret? blob_name?",
		"Bitbucket":   "project! repo! workspace? host? path? ref? access_token_secret? cloud_username_secret? cloud_app_password_secret?",
		"CodeCommit":  "repo! path? commit?",
		dockerStorage: "registry_url? image_name? image_tag? path? prefect_version",
		"GCS":         "bucket! key? project?",
		"Git":         "flow_path! repo? repo_host flow_name? git_token_secret_name? git_token_username? git_clone_url_secret_name? branch_name? tag? commit?",
		"GitHub":      "repo! path! ref? access_token_secret? base_url?",
		"GitLab":      "repo! path? host? ref? access_token_secret?",
		"Local":       "directory path?",
		"Module":      "module!",
		"S3":          "bucket! key?",
		"Webhook":     "build_request_http_method! get_flow_request_http_method!",
	}
	rules := append(textRules(own[kind]), rule{key: "flows", check: isTextMap}, rule{key: "secrets", check: isTexts, null: true})
	switch kind {
	case "Azure", "GCS", "S3", "Local", dockerStorage:
		rules = append(rules, rule{key: "stored_as_script", check: isFlag, null: true})
	case "Webhook":
		rules = append(rules, rule{key: "stored_as_script", check: isFlag, null: true},
			rule{key: "build_request_kwargs", check: isObject, required: true}, rule{key: "get_flow_request_kwargs", check: isObject, required: true})
	case "Git":
		rules = append(rules, rule{key: "clone_depth", check: isNumber, null: true}, rule{key: "use_ssh", check: isFlag}, rule{key: "format_access_token", check: isFlag})
	}
	if kind == "S3" || kind == "CodeCommit" {
		rules = append(rules, rule{key: "client_options", check: isObject, null: true})
	}
	return rules
}

// textRules reads "a! b? c": a is required, b may be null, c neither.
func textRules(keys string) []rule {
	var rules []rule
	for key := range strings.FieldsSeq(keys) {
		rules = append(rules, rule{key: strings.TrimRight(key, "!?"), null: strings.HasSuffix(key, "?"), required: strings.HasSuffix(key, "!")})
	}
	return rules
}

// runConfigRules are serialization/run_config.py of Prefect 1.4.1 for the kinds
// that no Job is made of.
func runConfigRules(kind string) []rule {
	rules := []rule{{key: "env", check: isObject, null: true}, {key: "labels", check: isTexts}}
	switch kind {
	case "DockerRun":
		return append(rules, rule{key: "ports", check: isNumbers, null: true}, rule{key: "image", null: true}, rule{key: "host_config", check: isObject, null: true})
	case "ECSRun":
		return append(rules, textRules("task_definition_path? task_definition_arn? image? cpu? memory? task_role_arn? execution_role_arn?")...)
	case "LocalRun":
		return append(rules, textRules("working_dir?")...)
	case "VertexRun":
		return append(append(rules, textRules("image? machine_type? service_account? network?")...),
			rule{key: "scheduling", check: isObject, null: true}, rule{key: "worker_pool_specs", check: isObjects, null: true})
	}
	return rules
}

// follow checks an object as Prefect does when it loads it.
func (o object) follow(rules []rule) error {
	for _, r := range rules {
		raw, given := o.raw[r.key]
		field := o.name + "." + r.key
		switch {
		case !given && r.required:
			return &FieldError{Field: field, Problem: "is missing", Mend: "register the flow again"}
		case !given || r.null && absent(raw):
			continue
		case absent(raw):
			return &FieldError{Field: field, Problem: "may not be null", Mend: "leave it out or register the flow again"}
		}
		var value any
		if err := json.Unmarshal(raw, &value); err != nil {
			return notJSON(field, err)
		}
		if where, want := r.check.wrong(value); want != "" {
			return &FieldError{Field: field + where, Problem: "is not a valid " + want, Mend: "register the flow again"}
		}
	}
	return nil
}

// construct checks what the constructors of the storage classes do beyond types.
func (o object) construct(kind string) error {
	refuse := func(key, problem string) error {
		return &FieldError{Field: o.name + "." + key, Problem: problem, Mend: "register the flow again"}
	}
	switch kind {
	case "Bitbucket":
		if o.given("workspace") && o.given("access_token_secret") {
			return refuse("workspace", "is set together with `access_token_secret`: a `workspace` needs `cloud_username_secret` and `cloud_app_password_secret`")
		}
	case "Git":
		if (o.given("branch_name") && (o.given("tag") || o.given("commit"))) || o.given("tag") && o.given("commit") {
			return refuse("branch_name", "stands for one of `branch_name`, `tag` and `commit`; more than one is set")
		}
		if absent(o.raw["repo"]) && absent(o.raw["git_clone_url_secret_name"]) {
			return refuse("repo", "is missing: one of `repo` and `git_clone_url_secret_name` must be set")
		}
	case "Storage":
		return refuse("type", "is that of an abstract class")
	case "Webhook":
		for _, key := range []string{"build_request_http_method", "get_flow_request_http_method"} {
			if method, err := o.text(key); err == nil && method != nil && !slices.Contains([]string{"GET", "PATCH", "POST", "PUT"}, *method) {
				return &FieldError{Field: o.name + "." + key, Value: *method, Problem: "is no HTTP method that is known", Mend: "use GET, PATCH, POST or PUT"}
			}
		}
	}
	return nil
}

// given is whether Python calls the value of a text true.
func (o object) given(key string) bool {
	value, err := o.text(key)
	return err == nil && value != nil && *value != ""
}

// wrong is where in a value something else stands than what is wanted.
func (c check) wrong(value any) (where, want string) {
	switch c {
	case isText:
		if kind(value) != "string" {
			return "", "string"
		}
	case isFlag:
		if !pythonFlag(value) {
			return "", "boolean"
		}
	case isNumber:
		if !pythonInteger(value) {
			return "", "integer"
		}
	case isTexts:
		return items(value, isText)
	case isNumbers:
		return items(value, isNumber)
	case isObjects:
		return items(value, isObject)
	case isObject, isTextMap:
		return c.wrongObject(value)
	case isAny:
	}
	return "", ""
}

func items(value any, c check) (where, want string) {
	list, ok := value.([]any)
	if !ok {
		return "", "list"
	}
	for i, item := range list {
		if item == nil && c == isObject {
			continue
		}
		if where, want := c.wrong(item); want != "" {
			return fmt.Sprintf("[%d]%s", i, where), want
		}
	}
	return "", ""
}

func (c check) wrongObject(value any) (where, want string) {
	tree, ok := value.(Tree)
	if !ok {
		return "", "mapping"
	}
	for _, key := range sortedKeys(tree) {
		if c == isTextMap && kind(tree[key]) != "string" {
			return "." + shorten(key), "string"
		}
	}
	return "", ""
}

// pythonFlag reports whether fields.Bool reads a value.
func pythonFlag(value any) bool {
	switch v := value.(type) {
	case bool:
		return true
	case float64:
		return v == 0 || v == 1
	case string:
		return slices.Contains([]string{
			"t", "T", "true", "True", "TRUE", "on", "On", "ON", "y", "Y", "yes", "Yes", "YES", "1",
			"f", "F", "false", "False", "FALSE", "off", "Off", "OFF", "n", "N", "no", "No", "NO", "0",
		}, v)
	}
	return false
}

// pythonInteger reports whether fields.Integer reads a value: whatever int() does.
func pythonInteger(value any) bool {
	switch v := value.(type) {
	case float64:
		return true
	case string:
		value, problem := integer(strings.TrimLeft(strings.TrimSpace(v), "0"))
		return strings.Trim(v, "0 ") == "" && strings.Contains(v, "0") || problem == "" && value != nil
	}
	return false
}
