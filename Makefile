# Heddle: what one does with a clone of it. Every target first installs what it needs and does not find.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test unit acceptance lint clean python system

BIN := .venv/bin
REPORT ?= report
AS_ROOT := scripts/as-root.sh
SOLVER_BENCHMARK := $(BIN)/python -m benchmarks.solver
CHANNEL_BENCHMARK := $(BIN)/python -m benchmarks.channel
FUZZING := $(BIN)/python -m benchmarks.fuzzing
PYTEST := $(BIN)/python -B -m pytest -p no:cacheprovider
# They wait more than they compute; a file's tests share what they set up, and stay together.
UNIT := $(PYTEST) -n 2 --dist loadfile tests/unit
# Real switches are one for the whole machine: these run one after another.
REST := $(PYTEST) --ignore=tests/unit
# Steps of a recipe that all run, `STEP || note`, and `exit $$worst`.
WORST := trap 'exit 130' INT; worst=0; note() { local code=$$?; [ $$code -le $$worst ] || worst=$$code; }

help: ## Say what there is to make
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

demo: system python ## Run one all-reduce under three routings and show what the routing bought (root)
	@$(AS_ROOT) $(BIN)/heddle emulate --report $(REPORT)

test: system lint ## Run all tests but the long ones (root)
	@$(WORST); \
	$(AS_ROOT) $(UNIT) || note; \
	$(AS_ROOT) $(REST) || note; \
	exit $$worst

unit: python ## Run the tests that need no root and nothing outside .venv
	@$(UNIT)

acceptance: system python ## Run the long measurements: seeds 1 to 5, discovery, attacks, the data plane, the channel, the solver, spoilt input, many kills (root)
	@$(WORST); \
	$(AS_ROOT) $(BIN)/heddle emulate --seeds 1-5 --report $(REPORT) || note; \
	for framework in ryu os-ken; do $(AS_ROOT) $(BIN)/python -m benchmarks.discovery --framework $$framework || note; done; \
	for framework in ryu os-ken; do $(AS_ROOT) $(BIN)/python -m benchmarks.attacks --framework $$framework || note; done; \
	for framework in ryu os-ken; do $(AS_ROOT) $(BIN)/python -m benchmarks.dataplane --framework $$framework || note; done; \
	$(CHANNEL_BENCHMARK) || note; \
	$(SOLVER_BENCHMARK) --repeat 5 --peer-limit 30 $${HEDDLE_TEST_DATA:+--data "$$HEDDLE_TEST_DATA"} || note; \
	$(FUZZING) || note; \
	$(AS_ROOT) $(PYTEST) -m acceptance || note; \
	exit $$worst

lint: python ## Check style, types and the layering of folders
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

clean: ## Remove the virtual environment, reports and caches
	rm -rf .venv $(REPORT) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

python:
	@scripts/install-python.sh

system:
	@scripts/install-system.sh
