# Everything runs in .venv, made here on first use. On a fresh machine: make demo, make test.

PYTHON ?= python3
BIN := .venv/bin
# Debian and Ubuntu ship python3 without ensurepip; then virtualenv, if there, makes the environment.
VENV := $(PYTHON) -m venv .venv || $(PYTHON) -m virtualenv .venv

# pip compiles every module on one core, those that no one imports included: it is half of the time.
INSTALL := -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt

# As many processes as cores, but not more than have memory for torch.
WORKERS ?= auto
# One thread each: the cores are shared by the processes. Worksteal keeps neighbours, which share what
# they were prepared with, together.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --maxprocesses 8 --dist worksteal

.PHONY: demo test test-long test-nojit test-wheel test-fasterrcnn lint types bench clean

# What a user needs, and no more.
.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || { $(VENV); }
	$(BIN)/python $(INSTALL) -e .
	-$(BIN)/python -m compileall -q -j 0 -x '/tests?/' .venv/lib
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python $(INSTALL) -e '.[dev]'
	touch $@

# What the benchmarks compare with; ASTRA brings 250 MB, so nothing else installs it.
.venv/installed-bench: .venv/installed-dev
	$(BIN)/python $(INSTALL) -e '.[dev,bench]'
	touch $@

demo: .venv/installed
	$(BIN)/tomodist demo --output demo

test: .venv/installed-dev
	$(PYTEST) -m 'not long'

# What takes minutes: measured memory, trainings, notebooks, real data; the kernels as plain Python;
# the wheel in an environment of its own.
test-long: .venv/installed-dev test-nojit test-wheel
	$(PYTEST) -m long

# The kernels' own tests with numba's compiler off, on tiny inputs: every line of them runs as it
# stands, so that indices out of bounds are errors, and coverage is true.
test-nojit: .venv/installed-dev
	NUMBA_DISABLE_JIT=1 $(PYTEST) tests/kernels

# The wheel in an empty environment, away from the sources: what PyPI's users get.
test-wheel: .venv/installed
	rm -rf .venv-wheel build/wheel
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps -w build/wheel .
	$(PYTHON) -m venv .venv-wheel || $(PYTHON) -m virtualenv .venv-wheel
	.venv-wheel/bin/python $(INSTALL) build/wheel/*.whl
	cd build/wheel && ../../.venv-wheel/bin/tomodist --help >/dev/null \
		&& ../../.venv-wheel/bin/tomodist demo --output demo
	rm -rf .venv-wheel build/wheel

# The paper's Faster R-CNN: torchvision breaks what imports it beside a CPU torch, so it has its own
# environment; tests/learned/faster_rcnn/shim.py supplies the operator that is missing there.
.venv-fasterrcnn/installed: pyproject.toml constraints.txt
	test -x .venv-fasterrcnn/bin/python || $(PYTHON) -m venv .venv-fasterrcnn \
		|| $(PYTHON) -m virtualenv .venv-fasterrcnn
	.venv-fasterrcnn/bin/python -m pip install --quiet --disable-pip-version-check \
		-c constraints.txt -e '.[test]'
	.venv-fasterrcnn/bin/python -m pip install --quiet --disable-pip-version-check \
		--no-deps torchvision==0.28.0
	touch $@

test-fasterrcnn: .venv-fasterrcnn/installed
	OMP_NUM_THREADS=1 .venv-fasterrcnn/bin/python -m pytest -q tests/learned/faster_rcnn

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed-dev
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
	rm -rf .venv .venv-fasterrcnn .venv-wheel demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
