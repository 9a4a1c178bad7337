# Every target installs what it needs first; a second run finds it there.
SUDO := $(shell [ "$$(id -u)" -eq 0 ] || echo sudo)
BIN := .venv/bin
REPORT ?= report

.PHONY: help demo test unit lint acceptance python system clean

help:  ## Say what there is to make
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/make \1|\2/' | column -t -s'|'

demo: system python  ## Run one all-reduce under three routings and show what the routing bought (root)
	$(SUDO) $(BIN)/heddle emulate --report $(REPORT)

test: system python lint  ## Run all tests but the long ones (root)
	$(SUDO) $(BIN)/python -m pytest

unit: python  ## Run the tests that need no root
	$(BIN)/python -m pytest tests/unit

lint: python  ## Check style, types and the layering of folders
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

acceptance: system python  ## Run the long measurements: seeds 1 to 5, then the long tests (root)
	$(SUDO) $(BIN)/heddle emulate --seeds 1-5 --report $(REPORT)
	$(SUDO) $(BIN)/python -m pytest -m acceptance

python:
	@scripts/install-python.sh

system:
	@if [ "$$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null 2>&1; then \
	    echo "heddle: this needs root, and there is no sudo: run it as root ('make unit' needs none)" >&2; exit 1; \
	fi
	@$(SUDO) scripts/install-system.sh

clean:  ## Remove the virtual environment, reports and caches
	rm -rf .venv $(REPORT) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info build
