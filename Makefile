# Each target does all of its own set-up: nothing is needed beforehand but python3, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-all test-oldest newcomer docs linkcheck same fuzz faults check changelog bench evidence coverage clean

$(VENV)/.installed: pyproject.toml demo/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ./demo --editable '.[test,check,timm]'
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/backlight demo

# Every promise once; those of pages in a browser where there is a Chromium, and axe-core (npm install --no-save axe-core@4). Each worker gets tests that follow each other, so that what a file has captured is captured once.
test: $(VENV)/.installed
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow" $(PYTEST_ARGS)

# What `make test` holds on small networks, on the zoos' own sizes too.
test-all: $(VENV)/.installed
	$(BIN)/python -m pytest -n auto --dist worksteal $(PYTEST_ARGS)

# The oldest releases that pyproject.toml states: capture, activations, rules, projection, scan and one build.
OLDEST := .venv-oldest

$(OLDEST)/.installed: pyproject.toml tests/oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint tests/oldest.txt \
		--editable . 'pytest>=8' 'pytest-xdist>=3.6' 'hypothesis>=6.100' 'beartype>=0.19' 'httpx>=0.27'
	@touch $@

test-oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/python -m pytest -n auto -m "not slow and not shared" \
		tests/test_oldest.py \
		tests/network/test_activations.py tests/network/test_batches.py tests/network/test_capture.py \
		tests/network/test_fold.py tests/network/test_network.py tests/network/test_outputs.py \
		tests/network/test_randomness.py tests/network/test_refusals.py tests/network/test_tracing.py \
		tests/network/test_wrappers.py \
		tests/operators/test_averages.py tests/operators/test_convolution.py tests/operators/test_elementwise.py \
		tests/operators/test_joins.py tests/operators/test_norms.py tests/operators/test_padding.py \
		tests/operators/test_rectifiers.py tests/operators/test_resizing.py tests/operators/test_slicing.py \
		tests/operators/test_spectral.py tests/operators/test_views.py tests/projection/test_algebra.py \
		tests/projection/test_project.py tests/projection/test_untouched.py tests/scan/test_one_pass.py \
		tests/scan/test_scanner.py tests/scan/test_state.py tests/atlas/test_building.py tests/atlas/test_executing.py tests/atlas/test_growing.py \
		tests/atlas/test_writer.py \
		tests/atlas/test_reader.py tests/atlas/test_contents.py tests/atlas/test_file.py tests/atlas/test_layers.py \
		tests/web/test_site.py tests/web/test_serving.py tests/web/test_exporting.py \
		$(PYTEST_ARGS)

# The tutorial, walked from the wheel in a fresh environment; NEWCOMER_ARGS='--libraries .venv' borrows PyTorch and the
# other libraries instead of installing them, which takes half the time and does not see a dependency that is missing.
newcomer: $(VENV)/.installed
	$(BIN)/python tests/newcomer/walk.py $(NEWCOMER_ARGS)

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

# The site, in build/docs; a warning is an error.
docs: $(VENV)/.docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -b html -d build/doctrees docs build/docs
	@echo build/docs/index.html

# Links to other sites too: needs the internet, so it is no part of the checks.
linkcheck: $(VENV)/.docs
	$(BIN)/python -m sphinx --quiet -b linkcheck -d build/doctrees docs build/linkcheck

# Whether a change of the code changes any number: `make same BEFORE=main`, SAME_ARGS="--only 'small/*'" for some of it.
same: $(VENV)/.installed
	$(BIN)/python tests/same_numbers --before $(BEFORE) $(SAME_ARGS)

# Hours: what docs/reliability.md counts. FUZZ divides the counts, for a look in minutes.
FUZZ ?= 1

fuzz: $(VENV)/.installed
	PYTHONPATH=tests $(BIN)/python tests/fuzz/pictures.py $$((20000 / $(FUZZ))) 0
	PYTHONPATH=tests $(BIN)/python tests/fuzz/shards.py $$((2000 / $(FUZZ))) 0
	PYTHONPATH=tests $(BIN)/python tests/fuzz/stores.py $$((1000 / $(FUZZ))) 0
	PYTHONPATH=tests $(BIN)/python -m fuzz.atlases $$((2000 / $(FUZZ))) 10
	PYTHONPATH=tests $(BIN)/python tests/fuzz/results.py $$((1000 / $(FUZZ)))
	BACKLIGHT_FUZZ=$$((400 / $(FUZZ))) $(BIN)/python -m pytest -n0 tests/models/test_damaged.py
	$(BIN)/python tests/kills/long.py

# Half an hour: builds on a Ray cluster of this machine whose drivers, stations and nodes are killed.
KILLS ?= 100

faults: $(VENV)/.installed
	$(BIN)/python tests/faults/long.py $(KILLS)

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/codespell
	$(BIN)/towncrier build --draft --version next > /dev/null

# The fragments in changes/ become the next release's part of CHANGELOG.md, and are removed.
changelog: $(VENV)/.installed
	$(BIN)/towncrier build --yes

# Hours, with the machine to itself; BENCH_ARGS=--quick takes minutes and shows that all parts run.
BENCHMARKS := projection scan decoding memory full_build growth occlusion inversion inversion_errors inversion_rivals adaptive \
	adaptive_errors web_site

$(VENV)/.bench: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ./demo --editable '.[bench]'
	@touch $@

bench: $(VENV)/.bench
	set -e; for part in $(BENCHMARKS); do $(BIN)/python benchmarks/$$part.py $(BENCH_ARGS); done

# What the pages on evidence count, which no speed of the machine changes; EVIDENCE_ARGS=--quick shows that all parts run.
EVIDENCE := ground_truth sound_maps cifar_networks evidence low_pass remedies rounding

evidence: $(VENV)/.bench
	set -e; for part in $(EVIDENCE); do $(BIN)/python benchmarks/$$part.py $(EVIDENCE_ARGS); done
	$(BIN)/python benchmarks/report.py

# Networks of other people's zoos too: COVERAGE_ARGS='--zoo others' after `pip install '.[zoos]'`.
coverage: $(VENV)/.installed
	$(BIN)/python benchmarks/coverage.py $(COVERAGE_ARGS)

clean:
	rm -rf $(VENV) $(OLDEST) .mypy_cache .ruff_cache .pytest_cache .hypothesis
