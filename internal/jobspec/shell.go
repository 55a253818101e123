package jobspec

import (
	"path"
	"slices"
	"strings"
)

// takesOneWord reports whether a command is a shell with -c that still waits for
// its script: of the arguments it gets the first is the script, and the others
// are nothing to it. "sh -c" ran "prefect" and ended with 0.
func takesOneWord(command []any) bool {
	var words []string
	for _, item := range command {
		word, _ := item.(string)
		words = append(words, strings.Fields(word)...) // env -S takes several in one
	}
	if slices.ContainsFunc(words, isSwitch) && len(words) > 0 {
		last := words[len(words)-1]
		return last == "-c" || last == "--command"
	}
	shell := slices.IndexFunc(words, isShell)
	if shell < 0 {
		return false
	}
	inline := false
	for i := shell + 1; i < len(words); i++ {
		switch word := words[i]; {
		case word == "--":
			return inline && i == len(words)-1
		case takesWord(word) && i+1 < len(words):
			inline = inline || asksForScript(word)
			i++
		case isOption(word):
			inline = inline || asksForScript(word)
		default:
			return false // the script itself, or a file
		}
	}
	return inline
}

// asksForScript is an option such as -c, -lc or -cx.
func asksForScript(word string) bool {
	return strings.HasPrefix(word, "-") && !strings.HasPrefix(word, "--") && strings.Contains(word, "c")
}

func isShell(word string) bool {
	name := strings.TrimSuffix(path.Base(word), ".exe")
	return slices.Contains([]string{"sh", "bash", "ash", "dash", "zsh", "ksh", "mksh", "fish", "rbash"}, name)
}

// isSwitch is a program that starts a shell as somebody else, with -c as its last word.
func isSwitch(word string) bool {
	return slices.Contains([]string{"su", "runuser"}, path.Base(word))
}

func isOption(word string) bool {
	return len(word) > 1 && (word[0] == '-' || word[0] == '+')
}

// takesWord is an option such as -o or -euo, whose value is the next word.
func takesWord(word string) bool {
	if !isOption(word) || strings.HasPrefix(word, "--") {
		return slices.Contains([]string{"--rcfile", "--init-file"}, word)
	}
	return strings.ContainsAny(word[len(word)-1:], "oO")
}

// script is the script that a command has for its shell, if it has one.
func script(command []any) (text string, ok bool) {
	for i := range command {
		if i > 0 && takesOneWord(command[:i]) {
			text, ok = command[i].(string)
			return text, ok
		}
	}
	return "", false
}

// setShellArgs gives a shell with -c the flow's command as its script. A shell
// that has a script already runs that, and the flow only if the script does.
func (h *hardening) setShellArgs() {
	command, _ := h.container["command"].([]any)
	args, _ := h.container["args"].([]any)
	text := make([]string, len(args))
	for i, arg := range args {
		text[i], _ = arg.(string)
	}
	if takesOneWord(command) {
		h.container["args"] = []any{strings.Join(text, " ")}
		return
	}
	if len(args) == 1 {
		h.container["args"] = words(strings.Join(text, " "))
	}
	if own, ok := script(command); ok && !strings.ContainsAny(own, "$") && !strings.Contains(own, "prefect") {
		h.warnings.add(inContainer+".command", "is a shell script that does not use its arguments, so that the flow never begins", `end the script with exec "$0" "$@"`)
	}
}
