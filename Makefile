# Everything runs in .venv, made here on first use. On a fresh machine: make demo, make test.

PYTHON ?= python3
BIN := .venv/bin
# Debian and Ubuntu ship python3 without ensurepip; then virtualenv, if there, makes the environment.
VENV := $(PYTHON) -m venv .venv || $(PYTHON) -m virtualenv .venv

.PHONY: demo test test-fasterrcnn lint types bench clean

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || { $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# What the benchmarks compare with; ASTRA brings 250 MB, so nothing else installs it.
.venv/installed-bench: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,bench]'
	touch $@

demo: .venv/installed
	$(BIN)/tomodist demo --output demo

test: .venv/installed
	$(BIN)/python -m pytest -q

# The paper's Faster R-CNN: torchvision breaks what imports it beside a CPU torch, so it has its own
# environment; tests/faster_rcnn/shim.py supplies the operator that is missing there.
.venv-fasterrcnn/installed: pyproject.toml constraints.txt
	test -x .venv-fasterrcnn/bin/python || $(PYTHON) -m venv .venv-fasterrcnn \
		|| $(PYTHON) -m virtualenv .venv-fasterrcnn
	.venv-fasterrcnn/bin/python -m pip install --quiet --disable-pip-version-check \
		-c constraints.txt -e '.[test]'
	.venv-fasterrcnn/bin/python -m pip install --quiet --disable-pip-version-check \
		--no-deps torchvision==0.28.0
	touch $@

test-fasterrcnn: .venv-fasterrcnn/installed
	OMP_NUM_THREADS=1 .venv-fasterrcnn/bin/python -m pytest -q tests/faster_rcnn

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed
	$(BIN)/mypy

# Everything on one thread where nothing else is said; results as JSON in .benchmarks/results.json.
bench: .venv/installed-bench
	mkdir -p .benchmarks
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --durations=0 --durations-min=60 tests/benchmarks \
		--full --benchmark-enable --benchmark-only --benchmark-disable-gc --benchmark-quiet \
		--benchmark-json=.benchmarks/results.json
	$(BIN)/python -m tests.benchmarks.report .benchmarks/results.json
	$(BIN)/python -m tests.benchmarks.bench_out_of_core

clean:
	rm -rf .venv .venv-fasterrcnn demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
