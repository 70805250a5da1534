# Each target makes .venv itself when it is missing. PYTHON is the interpreter it is made of, 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-more test-long crash lint format bench clean

demo: .venv/installed
	$(BIN)/python examples/demo.py

test: .venv/installed
	$(BIN)/python -m pytest --numprocesses=2

# What `make test` takes samples of: the other cases.
test-more: .venv/installed
	$(BIN)/python -m pytest --numprocesses=2 -m "more and not long and not crash"

test-long: .venv/installed
	$(BIN)/python -m pytest --numprocesses=2 -m long

# 1,000 kills take a quarter of an hour on two cores. With SEED=, the same phases are aimed at again.
crash: .venv/installed
	$(BIN)/python tests/crash/kills.py $(or $(KILLS),1000) $(SEED)
	$(BIN)/python -m pytest -m crash

lint: .venv/linters
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/linters
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# QUICK=1 takes a minute and a half. LARGE=1 also saves 1000 MB.
bench: .venv/bench
	$(BIN)/python benchmarks/speed.py $(if $(QUICK),--quick)
ifndef QUICK
	$(BIN)/python benchmarks/costs.py
	$(BIN)/python benchmarks/pipelines.py
	$(BIN)/python benchmarks/first_step.py
	$(BIN)/python benchmarks/workers.py
	$(BIN)/python benchmarks/sigterm.py
	$(BIN)/python benchmarks/save_stall.py 20 200 $(if $(LARGE),1000)
endif

clean:
	rm -rf .venv runs build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[test,examples]"
	touch $@

.venv/linters: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@

# Orbit is in tf-models-official, most of whose dependencies it does not need.
.venv/bench: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[bench]"
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps tf-models-official
	touch $@
