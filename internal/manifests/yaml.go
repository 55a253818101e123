package manifests

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v2"
)

// YAML writes documents in the manner of the reference: each begins with ---,
// keys are sorted at every level, and list items stand at the indent of their key.
func YAML(documents []Tree) ([]byte, error) {
	var out bytes.Buffer
	for _, document := range documents {
		text, err := yaml.Marshal(document)
		if err != nil {
			return nil, fmt.Errorf("write %v as YAML: %w", document["kind"], err)
		}
		out.WriteString("---\n")
		out.Write(text)
	}
	return out.Bytes(), nil
}
