# What a contributor runs. The rules behind it are in CONTRIBUTING.md.

# Every module of this repository; a test in internal/house keeps the list complete.
MODULES := . examples/pkbctl examples/webapp internal/integration internal/integration/judge internal/integration/sinks internal/integration/telemetry internal/testdata/consumer pkb/pkbotel tokenstore/etcdstore

# What needs servers, browsers, or peers that take minutes to compile. Every other
# module is tested on any laptop.
HEAVY := internal/integration internal/integration/judge internal/integration/sinks
LIGHT := $(filter-out $(HEAVY),$(MODULES))

# What does one thing at a time, so that the race detector has nothing to find, and
# takes ten times as long with it.
ALONE := fhir internal/custody/core internal/house pkb/identity internal/integration/corpus

# testall runs each module, also after one has failed, and ends with a summary.
TESTALL := go run ./internal/house/testall

# Tools run from the Go module cache, at these versions.
STATICCHECK   := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOLANGCI_LINT := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
APIDIFF       := golang.org/x/exp/cmd/apidiff@v0.0.0-20261014143641-f0251eb4aa3e

FUZZTIME   := 10s
ITERATIONS :=

# Each module stands on its own, as it does for a host.
export GOWORK := off

# in_modules runs a command in every module and stops at the first failure.
in_modules = @set -e; for module in $(MODULES); do \
		echo "== $$module"; (cd $$module && $(1)); \
	done

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: test
test: ## test all that needs nothing but Go, in the short form
	@$(TESTALL) -short -not "$(HEAVY)" $(LIGHT)

.PHONY: race
race: ## the same with the race detector
	@$(TESTALL) -race -short -not "$(HEAVY)" $(LIGHT)

# Three packages at a time: many wait for servers.
.PHONY: integration
integration: ## test every module with the race detector, and the long simulations
	@$(TESTALL) -race -p 3 -alone "$(ALONE)" -long internal/custody $(MODULES)

.PHONY: bench
bench: ## run the benchmarks; ITERATIONS=1 runs each once, to see that it works
	$(call in_modules,go test -run '^$$' -bench . -benchmem $(if $(ITERATIONS),-benchtime=$(ITERATIONS)x) ./...)

.PHONY: fuzz
fuzz: ## fuzz every fuzz target for FUZZTIME (10s)
	@set -e; for module in $(MODULES); do cd $(CURDIR)/$$module; \
		packages=$$(go list ./...); for package in $$packages; do \
			listed=$$(go test -list '^Fuzz' $$package); \
			for target in $$(echo "$$listed" | grep '^Fuzz'); do \
				echo "== $$package $$target"; \
				go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package; \
			done; \
		done; \
	done

.PHONY: vet
vet: ## gofmt, go vet, staticcheck and tidy go.mod files: the quick checks of CI
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then \
		echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; \
	fi
	$(call in_modules,go vet ./... && go mod tidy -diff && $(STATICCHECK) ./...)

.PHONY: lint
lint: ## golangci-lint; building it takes a few minutes the first time
	$(call in_modules,$(GOLANGCI_LINT) run --config $(CURDIR)/.golangci.yml ./...)

.PHONY: tidy
tidy: ## go mod tidy in every module
	$(call in_modules,go mod tidy)

.PHONY: api
api: ## compare the exported API with the last tag; an incompatible change fails
	@set -e; tag=$$(git tag --list 'v*' --sort=-version:refname | head -n 1); \
	if [ -z "$$tag" ]; then echo "no tag yet: there is no released API to compare with"; exit 0; fi; \
	echo "comparing with $$tag"; \
	old=$$(mktemp -d); trap 'git worktree remove --force "$$old/tree"; rm -rf "$$old"' EXIT; \
	git worktree add --quiet --detach "$$old/tree" "$$tag"; \
	GOBIN="$$old" go install $(APIDIFF); \
	(cd "$$old/tree" && "$$old/apidiff" -m -w "$$old/api" github.com/betawerk/pkb-go); \
	"$$old/apidiff" -m -incompatible "$$old/api" github.com/betawerk/pkb-go > "$$old/changes"; \
	if [ -s "$$old/changes" ]; then cat "$$old/changes"; exit 1; fi; \
	echo "no incompatible change"
