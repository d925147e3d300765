# Each target does all of its own set-up: nothing is needed beforehand but python3, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check bench coverage clean

$(VENV)/.installed: pyproject.toml demo/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ./demo --editable '.[test,check,timm]'
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/backlight demo

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n auto $(PYTEST_ARGS)

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Hours, with the machine to itself; BENCH_ARGS=--quick takes minutes and shows that all parts run.
BENCHMARKS := projection scan memory full_build growth occlusion inversion inversion_errors adaptive

$(VENV)/.bench: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ./demo --editable '.[bench]'
	@touch $@

bench: $(VENV)/.bench
	set -e; for part in $(BENCHMARKS); do $(BIN)/python benchmarks/$$part.py $(BENCH_ARGS); done

coverage: $(VENV)/.installed
	$(BIN)/python benchmarks/coverage.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
