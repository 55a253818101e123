module github.com/prefect-kube/prefect-kube

go 1.26.0
