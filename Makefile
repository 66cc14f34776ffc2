# Everything is done by the programs in tools/, which need nothing but python3; see CONTRIBUTING.md.
PYTHON ?= python3

.DEFAULT_GOAL := help
.PHONY: help setup demo test bench chaos format clean python

help:
	@echo "make demo            run the first notebook and serve JupyterLab on it"
	@echo "make test            run every check"
	@echo "make test ONLY=unit  run one stage or several (ONLY='ruff unit')"
	@echo "make bench           measure side by side with floors and peers (ARGS=--quick)"
	@echo "make chaos           kill engines again and again, 100 times (ROUNDS=20 of five)"
	@echo "make format          lay the Python sources out"
	@echo "make setup           only make .venv and build the dashboard"
	@echo "make clean           remove what these made"

setup: python
	@$(PYTHON) tools/install.py

demo: python
	@$(PYTHON) tools/demo.py

test: python
	@$(PYTHON) tools/check.py $(ONLY)

bench: python
	@$(PYTHON) tools/within.py python -m benchmarks $(ARGS)

chaos: python
	@$(PYTHON) tools/within.py env IPYJOBS_CHAOS=$(or $(ROUNDS),20) python -m pytest -q tests/chaos

format: python
	@$(PYTHON) tools/within.py ruff check --fix --quiet . ; .venv/bin/ruff format .

clean:
	rm -rf .venv .work js/node_modules ipyjobs/widget/static dist build .pytest_cache .ruff_cache .hypothesis

python:
	@command -v $(PYTHON) >/dev/null || { echo "python3 is missing: install Python 3.11 or newer"; exit 1; }
