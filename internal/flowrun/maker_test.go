package flowrun_test

import (
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/flowrun"
)

func TestMakerOfAnObject(t *testing.T) {
	t.Parallel()
	const named = "prefect-job-4f0c1a9e"
	type labels = map[string]string
	for name, tt := range map[string]struct {
		object          string
		labels          labels
		run             flowrun.ID
		managed, python bool
	}{
		"ours":                         {named, labels{"prefect.io/flow_run_id": "r", "prefect.io/identifier": "i", "app.kubernetes.io/managed-by": "prefect-kube"}, "r", true, false},
		"ours with the labels of 0.11": {named, labels{"prefect.io/flow_run_id": "r", "flow_run_id": "r", "identifier": "i", "app.kubernetes.io/managed-by": "prefect-kube"}, "r", true, false},
		"0.11.0":                       {named, labels{"flow_run_id": "r", "identifier": "i"}, "r", false, true},
		"0.11.0, managed by Helm":      {named, labels{"flow_run_id": "r", "identifier": "i", "app.kubernetes.io/managed-by": "Helm"}, "r", false, true},
		"1.4.1":                        {named, labels{"prefect.io/flow_run_id": "r", "prefect.io/identifier": "i"}, "r", false, true},
		"1.4.1 with a name of its own": {"etl-4f0c1a9e", labels{"prefect.io/flow_run_id": "r", "prefect.io/identifier": "i"}, "r", false, true},
		"half of 1.4.1":                {named, labels{"prefect.io/flow_run_id": "r"}, "r", false, false},
		"half of both":                 {named, labels{"prefect.io/flow_run_id": "r", "identifier": "i"}, "r", false, false},
		"empty run":                    {named, labels{"prefect.io/flow_run_id": "", "prefect.io/identifier": "i", "flow_run_id": "r", "identifier": "i"}, "", false, false},
		"half of 0.11.0":               {named, labels{"flow_run_id": "r"}, "", false, false},
		"common words elsewhere":       {"etl-1", labels{"flow_run_id": "r", "identifier": "i"}, "", false, false},
		"name alone":                   {named, nil, "", false, false},
		"no dash behind the prefix":    {"prefect-jobs", labels{"flow_run_id": "r", "identifier": "i"}, "", false, false},
	} {
		if got := flowrun.RunOf(tt.object, tt.labels); got != tt.run {
			t.Errorf("%s: got run %q, want %q", name, got, tt.run)
		}
		if got := flowrun.Managed(tt.labels); got != tt.managed {
			t.Errorf("%s: got managed %t", name, got)
		}
		if got := flowrun.MadeByPython(tt.object, tt.labels); got != tt.python {
			t.Errorf("%s: got made by a Python agent %t", name, got)
		}
	}
}
