package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/v2"

	"github.com/prefect-kube/prefect-kube/internal/regular"
)

// maxFile bounds a configuration file, in bytes.
const maxFile = 1 << 20

// rank is the order of the layers; the later wins.
type rank int

const (
	rankNone rank = iota
	rankDefault
	rankFile
	rankEnv
	rankFlags
)

// stack is the merged tree, and for each leaf the layer and place it came from.
type stack struct {
	tree     map[string]any
	origins  map[string]origin
	vars     map[string]string
	homeDir  string
	warnings []string
	// files are those that were read, unread says that one could not be, credentials
	// where the credentials stand, by setting.
	files       []string
	unread      bool
	credentials map[string]string
	// order is that in which variables for flow runs were named.
	order map[string]int
}

type origin struct {
	rank  rank
	place string
}

// layer is one source as a tree. It is a koanf.Provider.
type layer struct {
	rank rank
	tree map[string]any
	// place names where a leaf stands.
	place func(path []string) string
}

// Read returns a copy of the tree: koanf merges later layers into what it got.
func (l layer) Read() (map[string]any, error) { return branches(l.tree), nil }

func branches(tree map[string]any) map[string]any {
	out := make(map[string]any, len(tree))
	for key, value := range tree {
		if sub, ok := value.(map[string]any); ok {
			value = branches(sub)
		}
		out[key] = value
	}
	return out
}

// ReadBytes is not supported: a layer is a tree already.
func (l layer) ReadBytes() ([]byte, error) { return nil, errors.ErrUnsupported }

// load reads all sources and merges them. What is wrong with single settings is
// an error beside a result; without a result nothing could be read.
func load(settings []Setting, src Sources) (*stack, error) {
	s := &stack{origins: map[string]origin{}, vars: variables(src.Env), homeDir: src.HomeDir, order: map[string]int{}, credentials: map[string]string{}}
	layers := []layer{defaults(settings)}
	var unread []error
	for _, f := range []struct{ variable, name string }{
		{"PREFECT__USER_CONFIG_PATH", "config.toml"}, {"PREFECT__BACKEND_CONFIG_PATH", "backend.toml"},
	} {
		l, err := s.file(f.variable, f.name)
		layers, unread = append(layers, l), append(unread, err)
		s.unread = s.unread || err != nil
	}
	s.noteNames(namesOfVariables(src.Env))
	env, errEnv := s.environment(settings)
	flags, errFlags := flagLayer(settings, src.Flags)
	layers = append(layers, env, flags)
	errTables := tables(settings, layers)
	if err := s.merge(layers); err != nil {
		return nil, err
	}
	return s, errors.Join(errors.Join(unread...), errFlags, errEnv, unknownKeys(layers), unknownVariables(s.vars), errTables)
}

func (s *stack) merge(layers []layer) error {
	k := koanf.New(hidden)
	for _, l := range layers {
		if err := k.Load(l, nil); err != nil {
			return fmt.Errorf("merge settings: %w", err)
		}
		s.note(l, l.tree, nil)
	}
	s.tree = k.Raw()
	return nil
}

// note remembers for each leaf of a layer where it stands.
func (s *stack) note(l layer, tree map[string]any, path []string) {
	for key, value := range tree {
		at := append(slices.Clip(path), key)
		if sub, ok := value.(map[string]any); ok {
			s.note(l, sub, at)
		}
		s.origins[joined(at)] = origin{rank: l.rank, place: l.place(at)}
	}
}

func joined(path []string) string { return strings.Join(path, "\x00") }

// rank is the layer that a setting comes from.
func (s *stack) rank(path []string) rank { return s.origins[joined(path)].rank }

// untouched reports whether nobody set any of some keys. What is empty is not set.
func (s *stack) untouched(keys ...string) bool {
	return !slices.ContainsFunc(keys, func(key string) bool {
		path := strings.Split(key, ".")
		value, _ := lookup(s.tree, path)
		return s.rank(path) > rankDefault && value != ""
	})
}

func (s *stack) place(path []string) string { return s.origins[joined(path)].place }

// lookup walks down the tree.
func lookup(tree map[string]any, path []string) (any, bool) {
	var value any = tree
	for _, key := range path {
		branch, ok := value.(map[string]any)
		if !ok {
			return nil, false
		}
		if value, ok = branch[key]; !ok {
			return nil, false
		}
	}
	return value, true
}

// plant puts a value into a tree. A value in the way of a deeper one gives way.
func plant(tree map[string]any, path []string, value any) {
	for _, key := range path[:len(path)-1] {
		next, ok := tree[key].(map[string]any)
		if !ok {
			next = map[string]any{}
			tree[key] = next
		}
		tree = next
	}
	last := path[len(path)-1]
	if _, deeper := tree[last].(map[string]any); !deeper {
		tree[last] = value
	}
}

func defaults(settings []Setting) layer {
	tree := map[string]any{}
	for _, s := range settings {
		if s.Default != "" {
			plant(tree, s.id(), s.Default)
		}
	}
	return layer{rank: rankDefault, tree: tree, place: func(path []string) string { return "default of " + strings.Join(path, ".") }}
}

// file reads one TOML file. A file that is not there is as good as an empty one,
// as in Prefect's configuration.py; if a variable names it, that is worth a warning.
func (s *stack) file(variable, name string) (layer, error) {
	path := filepath.Join(s.homeDir, ".prefect", name)
	explicit := s.vars[variable]
	if explicit != "" {
		path = s.expand(explicit)
	}
	data, err := readFile(path)
	var tree map[string]any
	if err == nil {
		tree, err = parseTOML(path, data)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if explicit != "" {
			s.warnings = append(s.warnings, fmt.Sprintf("%s: no file %q", variable, path))
		}
	case err != nil:
		return layer{}, err
	default:
		s.files = append(s.files, path)
	}
	s.noteNames(namesInOrder(data))
	return layer{rank: rankFile, tree: tree, place: func(at []string) string { return path + ": " + strings.Join(at, ".") }}, nil
}

func readTOML(path string) (map[string]any, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return parseTOML(path, data)
}

func readFile(path string) ([]byte, error) {
	data, err := regular.Read(path, maxFile)
	if err != nil {
		return nil, readError(path, err)
	}
	return bytes.TrimPrefix(data, []byte("\ufeff")), nil // as editors of Windows begin a file
}

// readError keeps fs.ErrNotExist visible and is an *Error for all else.
func readError(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	problem := err.Error()
	if inner, ok := errors.AsType[*fs.PathError](err); ok {
		problem = inner.Err.Error()
	}
	if inner, ok := errors.AsType[*regular.Error](err); ok {
		problem = inner.Problem
	}
	return &Error{Place: path, Problem: problem}
}

func parseTOML(path string, data []byte) (map[string]any, error) {
	tree, err := toml.Parser().Unmarshal(data)
	if err == nil {
		delete(tree, hidden)
		return tree, nil
	}
	place := path
	if at, ok := errors.AsType[interface {
		error
		Position() (row, column int)
	}](err); ok {
		row, column := at.Position()
		place = fmt.Sprintf("%s:%d:%d", path, row, column)
	}
	return nil, &Error{Place: place, Problem: "not valid TOML: " + strings.TrimPrefix(err.Error(), "toml: "), Mend: "name each table and key once, and write texts in quotes, as in backend = \"server\""}
}

// tables takes away what is no table where settings lie below, and reports it.
func tables(settings []Setting, layers []layer) error {
	found := map[string]error{}
	for _, l := range layers {
		for _, s := range settings {
			for path := s.id(); len(path) > 1; {
				path = path[:len(path)-1]
				value, ok := lookup(l.tree, path)
				if _, table := value.(map[string]any); ok && !table {
					place := l.place(path)
					found[place] = &Error{Place: place, Problem: "want a table of settings, got a value", Mend: "write one such as [" + strings.Join(path, ".") + "] with the settings below it, or leave it out"}
					parent, _ := lookup(l.tree, path[:len(path)-1])
					delete(parent.(map[string]any), path[len(path)-1]) //nolint:forcetypeassert // lookup came through it
				}
			}
		}
	}
	return inOrder(found)
}

// inOrder joins errors so that the same input gives the same text.
func inOrder(found map[string]error) error {
	var all []error
	for _, place := range slices.Sorted(maps.Keys(found)) {
		all = append(all, found[place])
	}
	return errors.Join(all...)
}
