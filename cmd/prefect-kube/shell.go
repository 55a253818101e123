package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"

	"github.com/prefect-kube/prefect-kube/internal/config"
)

const (
	// maxCommand is the longest command text, in bytes.
	maxCommand = 16 << 10
	// maxVariables is how many references to variables it may have.
	maxVariables = 64
)

// shellText is the text after -c. Options that only change how a shell runs more than
// one command, or what it prints, do not matter.
func shellText(name string, args []string) (string, error) {
	text := false
	for len(args) > 0 && len(args[0]) > 1 && (args[0][0] == '-' || args[0][0] == '+') && args[0] != "--" {
		flag := args[0]
		args = args[1:]
		switch {
		case strings.HasPrefix(flag, "--"):
			if !slices.Contains([]string{"--login", "--norc", "--noprofile", "--posix"}, flag) {
				return "", refuse("%s with an option other than -c", name)
			}
		case strings.Trim(flag[1:], "celuxo") != "":
			return "", refuse("%s with an option other than -c", name)
		default:
			text = text || strings.Contains(flag, "c")
			args = args[min(strings.Count(flag, "o"), len(args)):] // -o pipefail
		}
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if !text || len(args) == 0 {
		return "", refuse("%s without -c and a command", name)
	}
	return args[0], nil
}

// shellCommand is the single simple command of a text, with its words as the shell
// would hand them over. It may begin with exec and with settings of variables, and refer
// to variables.
func shellCommand(name, text string, env []string) (args, variables []string, err error) {
	if len(text) > maxCommand {
		return nil, nil, refuse("%s -c with more than %d bytes", name, maxCommand)
	}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(text), "")
	if err != nil {
		return nil, nil, refuse("%s -c with what is no command of a shell", name)
	}
	call, err := simpleCall(name, file)
	if err != nil {
		return nil, nil, err
	}
	config := &expand.Config{Env: expand.FuncEnviron((&cli{env: env}).variable)}
	if args, err = expand.Fields(config, call.Args...); err != nil {
		return nil, nil, refuse("%s -c with what only a shell can do", name)
	}
	if len(args) > 0 && args[0] == "exec" {
		args = args[1:]
	}
	if len(args) == 0 {
		return nil, nil, refuse("%s -c without a command", name)
	}
	if err := checkProgram(args[0]); err != nil {
		return nil, nil, err
	}
	variables = slices.Clone(env)
	for _, a := range call.Assigns {
		value, err := expand.Literal(config, a.Value)
		if err != nil {
			return nil, nil, refuse("%s -c with what only a shell can do", name)
		}
		variables = append(variables, a.Name.Value+"="+value)
	}
	return args, variables, nil
}

// simpleCall returns the only command of a file, if it needs no shell.
func simpleCall(name string, file *syntax.File) (*syntax.CallExpr, error) {
	if len(file.Stmts) != 1 {
		return nil, refuse("%s -c with %d commands instead of one%s", name, len(file.Stmts), insteadOfBackend(file))
	}
	s := file.Stmts[0]
	call, ok := s.Cmd.(*syntax.CallExpr)
	if !ok || s.Negated || s.Background || s.Coprocess || s.Disown || !harmless(s.Redirs) {
		return nil, refuse("%s -c with more than one plain command%s", name, insteadOfBackend(file))
	}
	if slices.ContainsFunc(call.Assigns, func(a *syntax.Assign) bool { return a.Append || a.Naked || a.Index != nil || a.Array != nil }) {
		return nil, refuse("%s -c with what only a shell can do", name)
	}
	variables := 0
	for _, word := range words(call) {
		// Braces may multiply: {1..1000000}.
		if syntax.SplitBraces(word) || !bare(word.Parts, &variables) {
			return nil, refuse("%s -c with what only a shell can do", name)
		}
	}
	if variables > maxVariables {
		return nil, refuse("%s -c with more than %d variables", name, maxVariables)
	}
	return call, nil
}

// insteadOfBackend is the mend for a text that chooses the backend before it starts
// the agent; empty for any other.
func insteadOfBackend(file *syntax.File) string {
	mend := ""
	syntax.Walk(file, func(node syntax.Node) bool {
		if call, ok := node.(*syntax.CallExpr); ok && len(call.Args) == 3 && program(call.Args[0].Lit()) == programPrefect && call.Args[1].Lit() == "backend" {
			if kind := call.Args[2].Lit(); kind == config.Server || kind == config.Cloud {
				mend = fmt.Sprintf(" (for \"prefect backend %[1]s\" set the variable PREFECT__BACKEND=%[1]s)", kind)
			}
		}
		return true
	})
	return mend
}

// harmless: a container's log has both streams, so 2>&1 changes nothing.
func harmless(redirects []*syntax.Redirect) bool {
	return !slices.ContainsFunc(redirects, func(r *syntax.Redirect) bool {
		return r.Op != syntax.DplOut || r.Word.Lit() != "1" && r.Word.Lit() != "2"
	})
}

// words are all words of a command that get expanded.
func words(call *syntax.CallExpr) []*syntax.Word {
	all := slices.Clone(call.Args)
	for _, a := range call.Assigns {
		if a.Value != nil {
			all = append(all, a.Value)
		}
	}
	return all
}

// bare reports whether a word has nothing but text, quotes and $NAME or ${NAME},
// which it counts.
func bare(parts []syntax.WordPart, variables *int) bool {
	for i, part := range parts {
		switch p := part.(type) {
		case *syntax.Lit:
			// The home folder of somebody else would be looked up.
			if rest, ok := strings.CutPrefix(p.Value, "~"); ok && i == 0 && rest != "" && rest[0] != '/' {
				return false
			}
		case *syntax.SglQuoted:
		case *syntax.DblQuoted:
			if !bare(p.Parts, variables) {
				return false
			}
		case *syntax.ParamExp:
			*variables++
			if !named(p) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// named reports whether an expansion is just a variable.
func named(p *syntax.ParamExp) bool {
	bare := syntax.ParamExp{Dollar: p.Dollar, Rbrace: p.Rbrace, Short: p.Short, Param: p.Param}
	return p.Param != nil && syntax.ValidName(p.Param.Value) && reflect.DeepEqual(*p, bare)
}
