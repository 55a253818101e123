# README.md names the two commands that matter: `make demo` and `make test`.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GO      ?= go
CLUSTER_NAME ?= prefect-kube

.PHONY: demo build image test unit kubernetes e2e lint fuzz bench golden cluster-up cluster-down clean

demo: build ## a real flow, registered by the real Prefect client, runs in a pod
	cd testcluster && $(GO) run ./cmd/testcluster demo --name $(CLUSTER_NAME) --binary $(CURDIR)/bin/prefect-kube

build: ## bin/prefect-kube, static, version stamped
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/prefect-kube ./cmd/prefect-kube

image: ## dist/: the container image for both architectures, an OCI layout and files for docker load
	cd testcluster && $(GO) run ./cmd/image --module $(CURDIR) --version $(VERSION) --out $(CURDIR)/dist

test: ## everything; the summary says what could not run here and why
	tools/test

unit: ## the tests that need no cluster
	tools/test unit

kubernetes: ## the Kubernetes programs that the test cluster runs, built once
	tools/test kubernetes

e2e: ## real flows in real pods on a real cluster
	tools/test kubernetes e2e

lint: ## golangci-lint, deadcode, tidy
	tools/test lint

fuzz: ## every fuzzer for FUZZTIME (default 30s)
	tools/fuzz

bench: build ## starts per second against a bare create loop
	tools/bench

golden: ## rewrite the golden files
	$(GO) test ./cmd/prefect-kube ./internal/devserver/graphql ./internal/diagnose ./internal/jobspec ./internal/manifests -update
	cd testcluster && $(GO) test ./cluster -run DryRun -update

cluster-up: ## a real Kubernetes; the last line is to be pasted
	cd testcluster && $(GO) run ./cmd/testcluster up --name $(CLUSTER_NAME)

cluster-down:
	cd testcluster && $(GO) run ./cmd/testcluster down --name $(CLUSTER_NAME)

clean:
	rm -rf bin dist
