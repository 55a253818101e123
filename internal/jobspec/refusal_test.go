package jobspec_test

import (
	"strings"
	"testing"

	"github.com/prefect-kube/prefect-kube/internal/jobspec"
)

// TestARefusalNamesOurChange has the words of real admission plugins.
func TestARefusalNamesOurChange(t *testing.T) {
	t.Parallel()
	for refusal, change := range map[string]string{
		`unable to validate against any pod security policy: [pod.metadata.annotations.seccomp.security.alpha.kubernetes.io/pod: Forbidden: seccomp may not be set]`:                                            "pod-security",
		`unable to validate against any security context constraint: [provider "restricted": Forbidden: not usable by user or serviceaccount, pod.spec.securityContext.seccompProfile: seccomp may not be set]`: "pod-security",
		`admission webhook "validate.kyverno.svc-fail" denied the request: validation error: rule seccomp failed at path /spec/securityContext/seccompProfile/type/`:                                            "pod-security",
		`[psp-allow-privilege-escalation] allowPrivilegeEscalation must be unset`:                                                                                                                               "pod-security",
		`exceeded quota: compute, must specify limits.cpu for: flow`:                                                                                                                                            "cpu-limit",
		`failed quota: q: must specify limits.cpu,limits.memory`:                                                                                                                                                "cpu-limit",
		`admission webhook denied: annotation cluster-autoscaler.kubernetes.io/safe-to-evict not allowed`:                                                                                                       "safe-to-evict",
		`Job.batch "x" is invalid: spec.backoffLimit: must be at least 1 by policy`:                                                                                                                             "no-restart",
		`pods "x" is forbidden: exceeded quota: compute, requested: pods=1`:                                                                                                                                     "",
		`violates PodSecurity "restricted:v1.24": seccompProfile (pod or container "flow" must set securityContext.seccompProfile.type to "RuntimeDefault")`:                                                    "",
		`[psp-seccomp] Seccomp profile 'RuntimeDefault' is not allowed for container 'flow'. Allowed profiles: {"unconfined"}`:                                                                                  "pod-security",
		`PodSecurityPolicy: unable to admit pod: [pod.metadata.annotations[container.seccomp.security.alpha.kubernetes.io/flow]: Forbidden: runtime/default is not an allowed seccomp profile]`:                 "pod-security",
		`[denied by container-limits] container <flow> cpu limit <2> is higher than the maximum allowed of <1>`:                                                                                                 "",
		`[container-must-have-limits] container <flow> has no cpu limit`:                                                                                                                                        "cpu-limit",
		`pods "x" is forbidden: maximum cpu usage per Container is 1, but no limit is specified.`:                                                                                                               "cpu-limit",
		`pods "x" is forbidden: maximum memory usage per Container is 1Gi, but no limit is specified.`:                                                                                                          "",
		`validation error: CPU and memory resource requests and limits are required. rule validate-resources failed`:                                                                                            "cpu-limit",
		`serviceaccount "none" not found`:                                "",
		`field spec.noseccomper is odd, myallowPrivilegeEscalations too`: "",
		`metadata.name: already exists`:                                  "",
	} {
		hint := jobspec.RefusalHint(refusal, nil)
		if change == "" && hint != "" || change != "" && !strings.Contains(hint, "--keep "+change+" leaves it out") {
			t.Errorf("%s: %q, want a hint at %q", refusal, hint, change)
		}
		if kept := jobspec.RefusalHint(refusal, jobspec.KeepNames()); kept != "" {
			t.Errorf("%s: %q although all is kept", refusal, kept)
		}
	}
}
