package jobspec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

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

// parseNodes reads the only document of a text; nil if there is none.
func parseNodes(text []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) {
		return nil, nil //nolint:nilnil // no document is no error
	}
	if err == nil {
		if err = decoder.Decode(&second); err == nil {
			return nil, &FieldError{Field: "template", Line: second.Line, Column: second.Column, Problem: "has more than one document", Mend: "keep one"}
		}
	}
	if !errors.Is(err, io.EOF) {
		return nil, &FieldError{Field: "template", Problem: "is not valid YAML: " + shorten(err.Error()), Mend: "correct it"}
	}
	if len(document.Content) == 0 {
		return nil, nil //nolint:nilnil // no document is no error
	}
	return document.Content[0], nil
}

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

func (r *yamlReader) member(tree Tree, keyNode, valueNode *yaml.Node, path string) error {
	key, ok := keyText(keyNode)
	if !ok {
		return at(keyNode, path, "has a key that is no plain value", "write keys as text")
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
