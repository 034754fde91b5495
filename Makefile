# Each target does its own set-up: finds Python 3.11, makes .venv, installs the lock and this package, once.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# A person's own choice: make PYTHON=/path/to/python3.11 demo
PYTHON ?= $(shell command -v python3.11 || command -v python3 || command -v python)

.PHONY: demo test test-slow test-gpu lint bench setup clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   run the embedded study: runs/demo/report.html, report.pdf, tables/"
	@echo "make test   run the tests (test-slow and test-gpu: the marked ones)"
	@echo "make lint   ruff, mypy, import-linter"
	@echo "make bench  ours beside peers and the physical limit: benchmarks/results/*.json"

demo: $(STAMP)
	@$(BIN)/nalign run demo

test: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal

test-slow: $(STAMP)
	@$(BIN)/python -m pytest -q -m slow

test-gpu: $(STAMP)
	@$(BIN)/python -m pytest -q -m gpu

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

bench: $(STAMP)
	@$(BIN)/python -m benchmarks

setup: $(STAMP)

$(STAMP): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" && "$(PYTHON)" -c 'import sys; raise SystemExit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
	  echo "neural-alignment needs Python 3.11; found: $$("$(PYTHON)" --version 2>/dev/null || echo none)." >&2; \
	  echo "Install it (Debian: apt install python3.11 python3.11-venv; macOS: brew install python@3.11; conda: conda env create -f environment.yml)" >&2; \
	  echo "or name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "Making $(VENV)"; rm -rf $(VENV); "$(PYTHON)" -m venv $(VENV); }
	@echo "Installing the pinned packages (about 3.1 GB with a CPU build of torch; once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
