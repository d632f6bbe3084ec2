# SPDX-License-Identifier: Apache-2.0
# hypercell: every supported action is a target listed by `make help`.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check
export PATH := $(CURDIR)/$(BIN):$(PATH)

PYTHON_FOLDERS := src tests bench tools guest hypervisor
SHELL_SCRIPTS := tools/compose tools/demo tools/fixtures tools/install-packages .ci/run
WORKERS ?= $(shell nproc)

.PHONY: help
help: ## List the supported actions
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

build/.packages-run: packages/run.txt
	@mkdir -p build
	tools/install-packages $$(grep -v '^#' $<)
	@touch $@

build/.packages-test: packages/test.txt build/.packages-run
	tools/install-packages $$(grep -v '^#' $<)
	@touch $@

build/.venv-run: pyproject.toml build/.packages-run
	[ -x $(BIN)/pip ] || $(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	@touch $@

build/.venv-dev: pyproject.toml build/.venv-run
	$(PIP) --upgrade 'pip>=25.1'
	$(PIP) --group dev
	@touch $@

.PHONY: install
install: build/.venv-run guest launch ## Install what a running hypercell needs, and build the guest

.PHONY: guest
guest: build/.packages-run ## Build the agent; unpack the distribution's kernel (build/guest)
	@$(MAKE) -s -C guest

.PHONY: launch
launch: build/.packages-run ## Build the little program that becomes a hypervisor (build/launch)
	@$(MAKE) -s -C hypervisor/launch

.PHONY: kernel
kernel: guest ## Build our own, faster guest kernel from Debian's source (about 10 minutes)
	@$(MAKE) -s -C guest kernel

.PHONY: qemu
qemu: install ## Build a slim QEMU from Debian's source: starts sooner, takes less memory (about 8 minutes)
	@$(MAKE) -s -C hypervisor

.PHONY: demo
demo: install ## Run a container in a VM of its own, and leave the daemon serving
	@tools/demo

.PHONY: lint
lint: build/.venv-dev build/.packages-test ## Check style, types, layers, shell and C warnings
	ruff check $(PYTHON_FOLDERS)
	ruff format --check $(PYTHON_FOLDERS)
	mypy
	lint-imports
	shellcheck $(SHELL_SCRIPTS)
	@$(MAKE) -s -C guest lint
	@$(MAKE) -s -C hypervisor/launch lint

.PHONY: format
format: build/.venv-dev ## Put the Python sources in their canonical form
	ruff check --fix $(PYTHON_FOLDERS)
	ruff format $(PYTHON_FOLDERS)

.PHONY: test
test: install build/.venv-dev build/.packages-test ## Run all tests: C, Python, real VMs, real clients
	@tools/fixtures
	@$(MAKE) -s -C guest test
	pytest -q -n $(WORKERS) --dist worksteal

.PHONY: test-fast
test-fast: build/.venv-dev ## Run the tests that boot no VM
	pytest -q -n $(WORKERS) -m 'not vm'

.PHONY: bench
bench: install build/.venv-dev build/.packages-test ## Measure what is promised beside dockerd and gVisor (BENCH=--full: all, in an hour)
	python -m bench $(BENCH)

.PHONY: openapi
openapi: build/.venv-run ## Write the API that is served as an OpenAPI document (build/openapi.json)
	@$(BIN)/python -m hypercell.api.openapi > build/openapi.json

.PHONY: leaks
leaks: ## List processes, taps, tables, mounts, cgroups and files that belong to nothing
	@$(BIN)/python tools/leaks.py

.PHONY: clean
clean: ## Remove everything that was built
	rm -rf build $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
