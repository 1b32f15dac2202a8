# `make` lists what can be done. Everything that a command needs and the machine
# lacks is installed by it; only Go itself must be there.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VERSION := 0.1.0-dev
GO_MINIMUM := 1.26
GOLANGCI_LINT_VERSION := v2.15.0

export ERLOPS_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/erlops
GOLANGCI_LINT := $(ERLOPS_CACHE)/bin/golangci-lint-$(GOLANGCI_LINT_VERSION)

# What the programs say about themselves comes from the sources alone, so that
# two builds of a commit are the same bytes.
version_package := github.com/prometheus/common/version
ldflags = -s -w \
  -X $(version_package).Version=$(VERSION) \
  -X $(version_package).Revision=$(shell git rev-parse HEAD 2>/dev/null || echo unknown) \
  -X $(version_package).Branch=none \
  -X $(version_package).BuildUser=erlops \
  -X $(version_package).BuildDate=$(shell git log -1 --format=%cI 2>/dev/null || echo unknown)

e2e_packages = $(shell grep -rl --include='*_test.go' '^//go:build e2e' alerts cmd dashboards deployer exporter internal 2>/dev/null | xargs -r -n 1 dirname | sort -u | sed 's|^|./|')
loki_packages = $(shell grep -rl --include='*_e2e_test.go' StartLoki cmd dashboards exporter | xargs -r -n 1 dirname | sort -u | sed 's|^|./|')

# What only release builds have, and where it makes a difference.
release_tags := sd_cloud
discovery_packages := ./exporter/config ./exporter/discovery

.PHONY: help
help: ## list the commands
	@printf 'usage: make COMMAND\n\n'
	awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile
	printf '\ncaches are in %s; ERLOPS_CACHE says otherwise\n' '$(ERLOPS_CACHE)'

.PHONY: run
run: setup build ## start three demo nodes and the exporter attached to them, until Ctrl-C
	@go build -o bin/demo ./internal/demo
	exec bin/demo -exporter bin/erl-exporter

.PHONY: demo
demo: setup build ## the same with Prometheus, Alertmanager, Graphite, Loki when it is built, and the deployer
	@scripts/setup-e2e.sh prometheus alertmanager graphite
	go build -o bin/demo ./internal/demo
	exec bin/demo -whole -exporter bin/erl-exporter

.PHONY: test
test: setup-tests ## unit tests and tests against the machine's own Erlang
	@ERLTEST_REQUIRED=1 go test -race -timeout 10m ./...

.PHONY: e2e
e2e: setup-e2e ## tests against RabbitMQ, ejabberd, OTP 23 to 29 and Prometheus
	@[ -e '$(ERLOPS_CACHE)/loki/.complete' ] ||
	  echo "==> there is no Loki: the tests against it are skipped; make e2e-loki builds it, once, and runs them"
	ERLTEST_REQUIRED=1 go test -race -tags e2e -timeout 20m -p 1 $(e2e_packages)
	go test -race -tags $(release_tags) -timeout 10m $(discovery_packages)

.PHONY: e2e-loki
e2e-loki: setup-tests setup-loki ## tests against Loki
	@ERLTEST_REQUIRED=1 ERLTEST_LOKI_REQUIRED=1 go test -race -tags e2e -timeout 20m -p 1 -run '^TestLoki' $(loki_packages)

.PHONY: e2e-full
e2e-full: setup-e2e setup-loki ## all of them in random order, and what takes too long for every change
	@scripts/setup-e2e.sh images
	@ERLTEST_REQUIRED=1 ERLTEST_LOKI_REQUIRED=1 go test -race -tags e2e,e2e_full -timeout 120m -p 1 -count 1 -shuffle on $(e2e_packages)

.PHONY: e2e-openstack
e2e-openstack: check-go ## tests against a real OpenStack (Keystone, Glance, Nova, Neutron), which it installs in a folder
	@[ "$$(scripts/openstack.sh status)" = running ] || trap 'scripts/openstack.sh stop' EXIT
	scripts/openstack.sh start
	ERLTEST_REQUIRED=1 go test -race -tags e2e_openstack -timeout 20m -count 1 -run '^TestReal' ./deployer/provider/openstack

FUZZTIME ?= 20s

.PHONY: fuzz
fuzz: check-go ## every fuzz target for FUZZTIME (20s), one after the other; FUZZ names some
	@scripts/fuzz.sh '$(FUZZTIME)' '$(FUZZ)'

.PHONY: bench
bench: setup-e2e setup-loki ## what things cost: benchmarks, then real nodes, scrapes, deployments and uploads
	@go test -run '^$$' -bench . -benchmem ./...
	go test -tags bench -count 1 -v -timeout 120m ./internal/bench

.PHONY: lint
lint: setup $(GOLANGCI_LINT) ## golangci-lint, gofmt, vet, module files, Erlang warnings, generated files, scripts
	@GOLANGCI_LINT='$(GOLANGCI_LINT)' scripts/lint.sh

.PHONY: generate
generate: check-go ## write the generated Go files and documents anew
	@go generate ./...

.PHONY: dashboards
dashboards: check-go ## write the JSON of the Grafana dashboards anew
	@go generate ./dashboards

.PHONY: dashboards-preview
dashboards-preview: setup build ## the demo with the dashboards in a browser, drawn by Grafana's own panels
	@scripts/setup-e2e.sh prometheus alertmanager graphite preview
	go build -o bin/demo ./internal/demo
	exec bin/demo -whole -preview -exporter bin/erl-exporter

.PHONY: agents
agents: setup ## compile the agent's Erlang sources into the beams that the exporter carries
	@exporter/agent/build.sh

.PHONY: build
build: check-go ## static, reproducible programs in bin/
	@mkdir -p bin
	CGO_ENABLED=0 go build -tags '$(build_tags)' -trimpath -buildvcs=false -ldflags '$(ldflags)' -o bin/ ./cmd/...

.PHONY: release
release: build_tags = $(release_tags)
release: build ## the same with discovery in Kubernetes, EC2 and OpenStack; compiles for minutes, once

.PHONY: screenshots
screenshots: setup build ## take the pictures of the README anew, in six minutes
	@scripts/screenshots.sh

.PHONY: release-snapshot
release-snapshot: check-go ## archives, packages, checksums and SBOMs of this commit in dist/
	@scripts/setup-e2e.sh goreleaser
	PATH='$(ERLOPS_CACHE)/goreleaser:$(PATH)' VERSION='$(VERSION)' REVISION="$$(git rev-parse HEAD)" \
	  BUILD_DATE="$$(git log -1 --format=%cI)" BUILD_TIMESTAMP="$$(git log -1 --format=%ct)" \
	  goreleaser release --snapshot --clean $(RELEASE_FLAGS)

.PHONY: setup
setup: check-go ## install what the demo needs (Erlang, a C compiler) with apt
	@scripts/setup.sh

.PHONY: setup-tests
setup-tests: check-go ## the same and an SSH server, which stays off, for the hosts that tests make
	@scripts/setup.sh --tests

.PHONY: setup-e2e
setup-e2e: setup-tests ## make the Debian folders and programs that e2e runs against, once
	@scripts/setup-e2e.sh

.PHONY: setup-loki
setup-loki: check-go ## build Loki, which e2e-loki, e2e-full and bench run against, once: ten minutes and more
	@scripts/setup-e2e.sh loki

.PHONY: clean
clean: ## remove what build wrote (the caches stay: scripts/setup-e2e.sh --clean)
	@rm -rf bin dist dist.files

# Asked outside the module, whose go line might make go fetch another Go.
.PHONY: check-go
check-go:
	@have=$$(cd / && GOTOOLCHAIN=local go env GOVERSION 2>/dev/null | sed 's/^go//' || true)
	if [ -z "$$have" ]; then
	  echo "error: this needs Go $(GO_MINIMUM) or later and there is no go on the PATH; see https://go.dev/doc/install" >&2
	  exit 1
	fi
	if [ "$$(printf '%s\n' "$(GO_MINIMUM)" "$$have" | sort -V | head -n 1)" != "$(GO_MINIMUM)" ]; then
	  echo "error: this needs Go $(GO_MINIMUM) or later and the machine has $$have; see https://go.dev/doc/install" >&2
	  exit 1
	fi

$(GOLANGCI_LINT): | check-go
	@echo "==> building golangci-lint $(GOLANGCI_LINT_VERSION), some minutes, once"
	tmp=$$(mktemp -d)
	trap 'rm -rf "$$tmp"' EXIT
	mkdir -p '$(@D)'
	GOBIN="$$tmp" go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv "$$tmp/golangci-lint" '$@'
