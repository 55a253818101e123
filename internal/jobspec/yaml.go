package jobspec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Bounds on a template in YAML, after aliases are followed.
const (
	maxNodes     = 100_000
	maxYAMLBytes = 256 << 10
)

// ParseYAML reads a Job template as PyYAML's safe_load does, and returns what its
// JSON form would be. An empty text is nil. Errors are of type *FieldError and
// name line and column where there is one.
func ParseYAML(text []byte) (any, error) {
	value, _, err := parseYAML(text, "", false)
	return value, err
}

// parseYAML returns the places of all objects and lists too. With share, an
// alias is the very object that its anchor names, as in Python, so that a change
// of one is a change of both; otherwise it is a copy.
func parseYAML(text []byte, source string, share bool) (any, *places, error) {
	if len(text) > maxYAMLBytes {
		return nil, nil, &FieldError{Field: "template", Problem: fmt.Sprintf("has %d bytes, at most %d are read", len(text), maxYAMLBytes), Mend: "make it smaller"}
	}
	root, err := parseNodes(anyVersion(text))
	if err != nil && json.Valid(text) {
		// JSON has escapes that go-yaml does not know.
		value, err := decodeJSON("template", text)
		return value, nil, err
	}
	if root == nil || err != nil {
		return nil, nil, err
	}
	m := yamlMeasure{once: share, anchors: map[string]*yaml.Node{}}
	if err := m.check(root, 0); err != nil {
		return nil, nil, err
	}
	r := yamlReader{share: share, places: &places{source: source, trees: map[uintptr]placed{}}}
	value, err := r.value(root, "")
	if err != nil {
		return nil, nil, err
	}
	return value, r.places, nil
}

// anyVersion makes %YAML 1.2 and the like 1.1, as PyYAML takes them for.
func anyVersion(text []byte) []byte {
	const directive = "%YAML 1."
	if !bytes.HasPrefix(text, []byte(directive)) || len(text) == len(directive) {
		return text
	}
	text = bytes.Clone(text)
	text[len(directive)] = '1'
	return text
}

// parseNodes reads the only document of a text; nil if there is none. Documents without
// anything count for nothing: what prints manifests leaves them at both ends.
func parseNodes(text []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var only *yaml.Node
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		switch {
		case errors.Is(err, io.EOF):
			return only, nil
		case err != nil:
			return nil, &FieldError{Field: "template", Problem: "is not valid YAML: " + shorten(err.Error()), Mend: mendYAML(text, err)}
		case len(document.Content) == 0 || nothing(document.Content[0]):
			continue
		case only != nil:
			return nil, &FieldError{Field: "template", Line: document.Line, Column: document.Column, Problem: "has more than one document", Mend: "keep the one with the Job"}
		}
		only = document.Content[0]
	}
}

func nothing(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// lineOf finds the line that go-yaml names.
var lineOf = regexp.MustCompile(`line (\d+):`)

// mendYAML knows what often lies behind a text that is no YAML.
func mendYAML(text []byte, err error) string {
	if unrendered.Match(text) {
		return mendUnrendered
	}
	found := lineOf.FindStringSubmatch(err.Error())
	lines := bytes.Split(text, []byte("\n"))
	if found != nil {
		n, _ := strconv.Atoi(found[1])
		// go-yaml counts some lines from nought.
		for _, line := range lines[max(0, min(n-1, len(lines))):min(n+1, len(lines))] {
			if indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]; bytes.ContainsRune(indent, '\t') {
				return "indent with blanks, not with tabs"
			}
		}
	}
	return "correct it"
}

// unrendered matches what Helm, Jinja and the like replace before Kubernetes sees it.
var unrendered = regexp.MustCompile(`\{\{[-\s]*[.$(a-zA-Z]|\{%`)

const mendUnrendered = "it has {{ of a template engine such as Helm: render it first, as helm template does"

// yamlMeasure refuses what is too large or too deep before anything is built.
// Its own cost is bounded by the same numbers. With once, an anchor may be used
// once only, as in PyYAML.
type yamlMeasure struct {
	once    bool
	anchors map[string]*yaml.Node
	count   int
}

func (m *yamlMeasure) check(n *yaml.Node, depth int) error {
	if m.count++; m.count > maxNodes {
		return at(n, "", fmt.Sprintf("has more than %d values", maxNodes), "make it smaller")
	}
	if depth > maxDepth {
		return at(n, "", fmt.Sprintf("is nested more than %d deep", maxDepth), "make it flatter")
	}
	if n.Kind == yaml.AliasNode {
		return m.check(n.Alias, depth+1)
	}
	if n.Anchor != "" && m.once {
		if first, given := m.anchors[n.Anchor]; given && first != n {
			return at(n, "", "has the anchor "+shorten(n.Anchor)+" twice", "rename one of them")
		}
		m.anchors[n.Anchor] = n
	}
	for _, child := range n.Content {
		if err := m.check(child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// yamlReader turns nodes into values by PyYAML's rules.
type yamlReader struct {
	share  bool
	places *places
	// built are the values of anchored nodes, if they are shared.
	built map[*yaml.Node]any
}

func (r *yamlReader) value(n *yaml.Node, path string) (any, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if value, ok := r.built[n]; ok {
		return value, nil
	}
	value, err := r.build(n, path)
	if r.share && n.Kind != yaml.ScalarNode && err == nil {
		if r.built == nil {
			r.built = map[*yaml.Node]any{}
		}
		r.built[n] = value
	}
	return value, err
}

func (r *yamlReader) build(n *yaml.Node, path string) (any, error) {
	switch {
	case n.Kind == yaml.ScalarNode:
		value, problem := scalar(n)
		if problem != "" {
			return nil, at(n, path, problem, "correct it")
		}
		return value, nil
	case n.Style&yaml.TaggedStyle != 0 && n.Tag != "!!map" && n.Tag != "!!seq":
		return nil, at(n, path, "has the tag "+shorten(n.Tag)+", which has no meaning here", "remove it")
	case n.Kind == yaml.SequenceNode:
		return r.list(n, path)
	}
	return r.object(n, path)
}

func at(n *yaml.Node, path, problem, mend string) *FieldError {
	if path == "" {
		path = "template"
	}
	return &FieldError{Field: shorten(path), Line: n.Line, Column: n.Column, Problem: problem, Mend: mend}
}

func (r *yamlReader) list(n *yaml.Node, path string) (any, error) {
	list := make([]any, len(n.Content))
	for i, item := range n.Content {
		value, err := r.value(item, fmt.Sprintf("%s[%d]", path, i))
		if err != nil {
			return nil, err
		}
		list[i] = value
	}
	return list, nil
}

func (r *yamlReader) object(n *yaml.Node, path string) (any, error) {
	tree := make(Tree, len(n.Content)/2)
	if err := r.fill(tree, n, path, 0); err != nil {
		return nil, err
	}
	r.places.put(tree, n)
	return tree, nil
}

// fill sets the members of a mapping, after those that it merges with <<. Of two
// members with one key the later counts.
func (r *yamlReader) fill(tree Tree, n *yaml.Node, path string, depth int) error {
	if depth > maxDepth {
		return at(n, path, "merges too many mappings into each other", "make it flatter")
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Tag != "!!merge" {
			continue
		}
		for _, source := range mergeSources(n.Content[i+1]) {
			if source.Kind != yaml.MappingNode {
				return at(source, path, "is merged with <<, but is no mapping", "merge mappings")
			}
			if err := r.fill(tree, source, path, depth+1); err != nil {
				return err
			}
		}
	}
	r.noteTwice(n, path)
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Tag == "!!merge" {
			continue
		}
		if err := r.member(tree, n.Content[i], n.Content[i+1], path); err != nil {
			return err
		}
	}
	return nil
}

// noteTwice remembers the keys that a mapping has more than once.
func (r *yamlReader) noteTwice(n *yaml.Node, path string) {
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, ok := keyText(n.Content[i])
		if ok && seen[key] && n.Content[i].Tag != "!!merge" {
			r.places.again = append(r.places.again, again{join(path, key), positionOf(n.Content[i])})
		}
		seen[key] = true
	}
}

func (r *yamlReader) member(tree Tree, keyNode, valueNode *yaml.Node, path string) error {
	key, ok := keyText(keyNode)
	if !ok {
		mend := "write keys as text"
		if keyNode.Kind == yaml.MappingNode {
			mend = "write keys as text; put quotes around {{ }}, or render it first if that is Helm's"
		}
		return at(keyNode, path, "has a key that is no plain value", mend)
	}
	value, err := r.value(valueNode, join(path, key))
	tree[key] = value
	return err
}

// mergeSources are the mappings behind <<, those that count less first.
func mergeSources(n *yaml.Node) []*yaml.Node {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.SequenceNode {
		return []*yaml.Node{n}
	}
	var sources []*yaml.Node
	for _, source := range slices.Backward(n.Content) {
		if source.Kind == yaml.AliasNode {
			source = source.Alias
		}
		sources = append(sources, source)
	}
	return sources
}
