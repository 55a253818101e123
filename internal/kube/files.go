package kube

import (
	"errors"
	"io/fs"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/prefect-kube/prefect-kube/internal/regular"
)

// maxFile bounds a kubeconfig and each file that it names, in bytes.
const maxFile = 8 << 20

// checkFiles reads the kubeconfigs and what their current context names before
// client-go does: it opens files without a limit of time or size, so that a pipe or
// a mount whose server is away would keep the start waiting for ever. It returns what
// the kubeconfigs say together.
func checkFiles(rules *clientcmd.ClientConfigLoadingRules, loader clientcmd.ClientConfig) (raw clientcmdapi.Config, err error) {
	if err := readable(rules.GetLoadingPrecedence()...); err != nil {
		return raw, err
	}
	if raw, err = loader.RawConfig(); err != nil {
		return raw, err
	}
	return raw, readable(named(raw)...)
}

// named are the files that the current context names.
func named(raw clientcmdapi.Config) (files []string) {
	current, ok := raw.Contexts[raw.CurrentContext]
	if !ok {
		return nil
	}
	if cluster, ok := raw.Clusters[current.Cluster]; ok {
		files = append(files, cluster.CertificateAuthority)
	}
	if user, ok := raw.AuthInfos[current.AuthInfo]; ok {
		files = append(files, user.ClientCertificate, user.ClientKey, user.TokenFile)
	}
	return files
}

// readable leaves what the operating system refuses to client-go, which knows which
// files may be missing.
func readable(files ...string) error {
	for _, file := range files {
		if file == "" {
			continue
		}
		_, err := regular.Read(file, maxFile)
		if _, refused := errors.AsType[*fs.PathError](err); err != nil && !refused {
			return err
		}
	}
	return nil
}
