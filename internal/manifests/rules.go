package manifests

// Permission is one verb on one resource that the agent uses.
type Permission struct {
	// Group and Resource name the kind of object; Group is empty for core.
	Group, Resource string
	// Verb is what the agent may do with it.
	Verb string
	// Name is the only object it is allowed on, empty for all of the namespace.
	Name string
	// Without says what happens where it is missing.
	Without string
}

// Permissions are the verbs that the agent uses in its namespace, and no others.
func Permissions(namespace string) []Permission {
	return []Permission{
		{"batch", "jobs", "create", "", "no flow run starts: each fails with the API server's message"},
		{"batch", "jobs", "delete", "", "finished Jobs stay"},
		{"batch", "jobs", "get", "", "a start whose answer was lost cannot be told from somebody else's Job"},
		{"batch", "jobs", "list", "", "endings are not seen"},
		{"batch", "jobs", "patch", "", "a Job that shall not go on is deleted once it is five minutes old, instead of being stopped at once"},
		{"batch", "jobs", "watch", "", "endings are not seen"},
		{"", "pods", "list", "", "endings are not seen"},
		{"", "pods", "watch", "", "endings are not seen"},
		{"", "pods/log", "get", "", "failed flow runs are reported without the end of the container's log"},
		{"", "events", "list", "", "Jobs that get no Pod are reported without the cause"},
		{"", "namespaces", "get", namespace, "the place is known by the cluster's CA and the namespace's name instead of its UID"},
	}
}

// rules are Permissions as the rules of a Role, one for each resource.
func rules(namespace string) []any {
	var out []any
	var last Permission
	for _, p := range Permissions(namespace) {
		if len(out) > 0 && p.Group == last.Group && p.Resource == last.Resource {
			rule := out[len(out)-1].(Tree) //nolint:forcetypeassert // made below
			rule["verbs"] = append(rule["verbs"].([]any), p.Verb)
			continue
		}
		rule := Tree{"apiGroups": texts(p.Group), "resources": texts(p.Resource), "verbs": texts(p.Verb)}
		if p.Name != "" {
			rule["resourceNames"] = texts(p.Name)
		}
		out, last = append(out, rule), p
	}
	return out
}
