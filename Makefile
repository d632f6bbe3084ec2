# SPDX-License-Identifier: Apache-2.0
# hypercell: every supported action is a target listed by `make help`.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

RUN_PACKAGES := $(shell grep -v '^\#' packages/run.txt)
TEST_PACKAGES := $(shell grep -v '^\#' packages/test.txt)

.PHONY: help
help: ## List the supported actions
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

build/.packages-run: packages/run.txt
	@tools/install-packages $(RUN_PACKAGES)
	@mkdir -p build && touch $@

build/.packages-test: packages/test.txt build/.packages-run
	@tools/install-packages $(TEST_PACKAGES)
	@touch $@

build/.venv-run: pyproject.toml build/.packages-run
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	@touch $@

build/.venv-dev: build/.venv-run
	$(BIN)/python -m pip install -q --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install -q --disable-pip-version-check --group dev
	@touch $@

.PHONY: install
install: build/.venv-run guest ## Install what a running hypercell needs, and build the guest

.PHONY: guest
guest: build/.packages-run ## Build the agent and unpack the distribution's kernel into build/guest
	$(MAKE) -C guest

.PHONY: lint
lint: build/.venv-dev build/.packages-test ## Style, types, layer contracts, shell and C warnings
	$(BIN)/ruff check src tests bench
	$(BIN)/ruff format --check src tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports
	shellcheck tools/install-packages .ci/run
	$(MAKE) -C guest lint
