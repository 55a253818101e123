package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// addExamples gives each command what one types, with the name that the program was
// called by. Commands that cobra makes itself are made now.
func addExamples(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	lines := examples()
	walk(root, func(cmd *cobra.Command) {
		_, path, _ := strings.Cut(cmd.CommandPath(), " ")
		var text []string
		for _, line := range lines[path] {
			text = append(text, "  "+root.Name()+" "+line)
		}
		cmd.Example = strings.Join(text, "\n")
	})
}

// examples are by command, without the name of the program.
func examples() map[string][]string {
	return map[string][]string{
		"":                         {"agent kubernetes start --namespace dev -l dev", "doctor"},
		"agent":                    {"agent kubernetes start --namespace dev", "agent start kubernetes --namespace dev"},
		"agent start":              {"agent start kubernetes --token TOKEN --label dev --env KEY=value"},
		"agent install":            {"agent install kubernetes --token TOKEN --namespace dev --rbac | kubectl apply -f -"},
		"agent kubernetes":         {"agent kubernetes start --namespace dev"},
		"agent kubernetes start":   {"agent kubernetes start --key KEY --label dev --env KEY=value", "agent kubernetes start --api http://apollo.prefect:4200 --job-template job.yaml"},
		"agent kubernetes install": {"agent kubernetes install --key KEY --namespace dev --rbac | kubectl apply -f -", "agent kubernetes install --backend server --api http://apollo.prefect:4200"},
		"resource-manager":         {"resource-manager --namespace dev"},
		"render":                   {"render run.json", "render 11111111-1111-4111-8111-111111111111 --namespace dev --server"},
		"doctor":                   {"doctor --namespace dev -l dev", "doctor -o json"},
		"dev":                      {"dev", "dev --listen 127.0.0.1:4300 --db prefect.sqlite"},
		"version":                  {"version"},
		"help":                     {"help agent kubernetes start"},
		"completion":               {"completion bash"},
		"completion bash":          {"completion bash > /etc/bash_completion.d/prefect-kube"},
		"completion zsh":           {"completion zsh > \"${fpath[1]}/_prefect-kube\""},
		"completion fish":          {"completion fish > ~/.config/fish/completions/prefect-kube.fish"},
		"completion powershell":    {"completion powershell | Out-String | Invoke-Expression"},
	}
}
