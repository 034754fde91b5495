# Each target does its own set-up: finds a Python, makes .venv, installs the lock and this package, once.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# A person's own choice: make PYTHON=/path/to/python3.12 demo
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3 python; do \
  $$name -c 'import sys; raise SystemExit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$name && break; done)
# AllenSDK's own pins have no other Python in common.
PYTHON311 ?= python3.11
ORACLE := .venv-oracle
PIP := -m pip --quiet --disable-pip-version-check install
TORCH := $(shell grep -E '^torch(vision)?==' requirements.txt)
# Not the finder of an editable installation: a folder called cache where Python starts would come before it.
EDITABLE := --no-deps --no-build-isolation --config-settings editable_mode=compat --editable .

.PHONY: help demo test test-slow test-gpu test-oracle test-dist lint check bench dist setup clean
.DEFAULT_GOAL := help

help:
	@echo "make demo         run the embedded study: runs/demo/report.html, report.pdf, tables/"
	@echo "make test         run the tests (test-slow, test-gpu, test-oracle, test-dist: the marked ones)"
	@echo "make lint         ruff, mypy, import-linter"
	@echo "make check        does every installed package import and get what it asks for?"
	@echo "make dist         wheel and source distribution: dist/"
	@echo "make bench        ours beside peers and the physical limit: benchmarks/results/*.json"

demo: $(STAMP)
	@$(BIN)/nalign run demo

test: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal

test-slow: $(STAMP)
	@$(BIN)/python -m pytest -q -m slow

test-gpu: $(STAMP)
	@$(BIN)/python -m pytest -q -m gpu

test-oracle: $(ORACLE)/.installed
	@OMP_NUM_THREADS=1 $(ORACLE)/bin/python -m pytest -q -n 2 --dist worksteal -m "oracle and not slow" tests

test-dist: $(STAMP)
	@$(BIN)/python -m pytest -q -m dist tests/test_distribution.py

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

check: $(STAMP)
	@$(BIN)/python -m pipelines.doctor_packages requirements.txt requirements-dev.txt

dist: $(STAMP)
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation --outdir dist .

bench: $(STAMP)
	@$(BIN)/python -m benchmarks

setup: $(STAMP)

$(STAMP): requirements.txt requirements-dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { \
	  echo "neural-alignment needs Python 3.11, 3.12 or 3.13; found: $$(python3 --version 2>/dev/null || echo none)." >&2; \
	  echo "Install it (Debian: apt install python3 python3-venv; macOS: brew install python@3.13; conda: conda env create -f environment.yml)" >&2; \
	  echo "or name one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "Making $(VENV)"; rm -rf $(VENV); "$(PYTHON)" -m venv $(VENV); }
	@echo "Installing the pinned packages (about 3.1 GB with a CPU build of torch; once)"
	@$(BIN)/python $(PIP) $(TORCH) --constraint requirements.txt  # with what its build for this machine brings
	@$(BIN)/python $(PIP) --no-deps -r requirements-dev.txt  # AllenSDK's pins contradict the lock
	@$(BIN)/python $(PIP) $(EDITABLE)
	@touch $(STAMP)

$(ORACLE)/.installed: requirements-allensdk.txt pyproject.toml
	@test -x $(ORACLE)/bin/python || { echo "Making $(ORACLE)"; rm -rf $(ORACLE); "$(PYTHON311)" -m venv $(ORACLE); }
	@echo "Installing AllenSDK with the packages that it pins (about 2.4 GB; once)"
	@$(ORACLE)/bin/python $(PIP) -r requirements-allensdk.txt
	@$(ORACLE)/bin/python $(PIP) $(EDITABLE)
	@touch $@

clean:
	rm -rf $(VENV) $(ORACLE) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
