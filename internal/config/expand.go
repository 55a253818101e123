package config

import (
	"path/filepath"
	"regexp"
	"strings"
)

const (
	// maxPasses bounds repeated expansion, as in configuration.py.
	maxPasses = 10
	// maxText bounds what expansion may grow a value to, in bytes.
	maxText = 64 << 10
)

var (
	variable  = regexp.MustCompile(`\$(\w+|\{\w+\})`)
	reference = regexp.MustCompile(`\$\{([^${}]*)\}`)
)

// expand replaces $NAME and ${NAME} by variables of the environment and a
// leading ~ by the home directory. An unknown name stays, as in Python's
// os.path.expandvars.
func (s *stack) expand(text string) string {
	for range maxPasses {
		next := variable.ReplaceAllStringFunc(text, func(match string) string {
			if value, ok := s.vars[strings.Trim(match[1:], "{}")]; ok {
				return value
			}
			return match
		})
		if rest, ok := strings.CutPrefix(next, "~"); ok && (rest == "" || rest[0] == '/') {
			next = filepath.Join(s.homeDir, rest)
		}
		if next == text || len(next) > maxText {
			return text
		}
		text = next
	}
	return text
}

// resolve replaces ${a.b} by the setting of that name, the innermost first, and
// an unknown name by nothing.
func (s *stack) resolve(text string) string {
	for range maxPasses {
		next := reference.ReplaceAllStringFunc(text, func(match string) string {
			value, _ := lookup(s.tree, strings.Split(match[2:len(match)-1], "."))
			found, err := textOf(value)
			if err != nil {
				return ""
			}
			return s.expand(found)
		})
		if next == text || len(next) > maxText {
			return text
		}
		text = next
	}
	return text
}
