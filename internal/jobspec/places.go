package jobspec

import (
	"reflect"
	"slices"

	"go.yaml.in/yaml/v3"
)

// places remembers where in a text the objects of a template stand. Objects are
// known by identity, since what is built moves them about. A nil *places knows
// nothing.
type places struct {
	// source is what the text is called in errors.
	source string
	trees  map[uintptr]placed
	// again are the keys that an object has more than once.
	again []again
}

type again struct {
	path string
	position
}

// placed keeps the tree alive, so that no other can have its address.
type placed struct {
	tree Tree
	node *yaml.Node
}

func (p *places) put(tree Tree, n *yaml.Node) {
	p.trees[reflect.ValueOf(tree).Pointer()] = placed{tree, n}
}

// position is a place in a text, counted from one; zero where there is none.
type position struct{ line, column int }

func positionOf(n *yaml.Node) position { return position{n.Line, n.Column} }

// of is where an object stands.
func (p *places) of(tree Tree) position {
	if n := p.node(tree); n != nil {
		return positionOf(n)
	}
	return position{}
}

func (p *places) node(tree Tree) *yaml.Node {
	if p == nil {
		return nil
	}
	return p.trees[reflect.ValueOf(tree).Pointer()].node
}

// key is where a key of an object stands.
func (p *places) key(tree Tree, key string) position {
	if keyNode, _ := p.member(tree, key); keyNode != nil {
		return positionOf(keyNode)
	}
	return position{}
}

// value is where the value of a key stands, if it is still the text's own.
func (p *places) value(tree Tree, key string) position {
	_, n := p.member(tree, key)
	if n == nil {
		return position{}
	}
	if n.Kind == yaml.ScalarNode {
		if own, problem := scalar(n); problem != "" || !reflect.DeepEqual(own, tree[key]) {
			return position{}
		}
	}
	return positionOf(n)
}

// item is where an item of the list under a key stands, or else that list. The
// list must be as the text has it, unless the item is an object.
func (p *places) item(parent Tree, key string, index int) position {
	list, _ := parent[key].([]any)
	if index < len(list) {
		if tree, ok := list[index].(Tree); ok {
			return p.of(tree)
		}
	}
	_, n := p.member(parent, key)
	if n == nil || n.Kind != yaml.SequenceNode || len(n.Content) != len(list) {
		return p.value(parent, key)
	}
	return positionOf(n.Content[index])
}

func (p *places) member(tree Tree, key string) (keyNode, valueNode *yaml.Node) {
	n := p.node(tree)
	if n == nil {
		return nil, nil
	}
	return findMember(n, key, 0)
}

// findMember follows the rules of yamlReader.fill: the last key, else what is
// merged.
func findMember(n *yaml.Node, key string, depth int) (keyNode, valueNode *yaml.Node) {
	if depth > maxDepth || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := len(n.Content) - 2; i >= 0; i -= 2 {
		if text, ok := keyText(n.Content[i]); ok && text == key && n.Content[i].Tag != "!!merge" {
			return n.Content[i], followed(n.Content[i+1])
		}
	}
	for i := len(n.Content) - 2; i >= 0; i -= 2 {
		if n.Content[i].Tag != "!!merge" {
			continue
		}
		for _, source := range slices.Backward(mergeSources(n.Content[i+1])) {
			if keyNode, valueNode = findMember(source, key, depth+1); keyNode != nil {
				return keyNode, valueNode
			}
		}
	}
	return nil, nil
}

func followed(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
