package jobspec

import "fmt"

// mendKind says what to do about a template that is another object than a Job.
func mendKind(value any) string {
	name, _ := value.(string)
	below := map[string]string{
		"Pod":     "write a Job, with what stands below the Pod's metadata and spec below spec.template",
		"CronJob": "write a Job, with what stands below spec.jobTemplate at its top",
		"List":    "write the one Job that stands below items",
		"JobList": "write the one Job that stands below items",
	}
	for _, kind := range []string{"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "PodTemplate"} {
		below[kind] = fmt.Sprintf("write a Job, and take only the Pod template of the %s, as spec.template", kind)
	}
	if mend, ok := below[name]; ok {
		return mend
	}
	return "the template must be a Job: apiVersion: batch/v1, kind: Job"
}
