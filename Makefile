# Each target works on a fresh machine with Python 3.11 and make.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
# The core's unit tests also run on the oldest and the newest Python, where they are installed.
find = $(or $(shell python$(1) -c 'import sys; print(sys.executable)' 2>/dev/null),\
	$(lastword $(wildcard $(HOME)/.pyenv/versions/$(1).*/bin/python)))
OTHERS := $(foreach version,3.10 3.13,$(if $(call find,$(version)),unit-$(version)))
ENGINES := $(wildcard plugins/*/pyproject.toml)
PACKAGES := core $(ENGINES:/pyproject.toml=)
# Spark is 490 MB and wants Java: its tests run alone, and not among all the others.
DEV := $(filter-out plugins/spark,$(PACKAGES))
# Each engine's tests also run where only that engine is installed.
ALONE := $(patsubst plugins/%/pyproject.toml,alone-%,$(ENGINES))
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: serve test unit lint bench clean $(OTHERS) $(ALONE)

serve: .venv/ready  ## serve the example
	@echo
	@echo "When it is ready, in another terminal:"
	@echo "  curl -F images=@examples/digits-onnx/samples/7.png http://127.0.0.1:8080/"
	@echo
	.venv/bin/engineroom serve examples/digits-onnx

test: lint $(OTHERS) $(ALONE)  ## everything: lint, types, the whole suite
	.venv-dev/bin/pytest

unit: .venv-dev/ready  ## what runs in about a minute
	.venv-dev/bin/pytest -q -n auto -m 'not slow' tests/unit tests/contract tests/engines/test_onnx.py

lint: .venv-dev/ready
	.venv-dev/bin/ruff check .
	.venv-dev/bin/ruff format --check .
	.venv-dev/bin/mypy

bench: .venv-dev/ready  ## what the server costs: the tables and the plot of docs/performance.md
	.venv-dev/bin/python benchmarks/bench.py

$(OTHERS): unit-%: .venv-%/ready
	.venv-$*/bin/pytest -q -m 'not slow' tests/unit tests/contract

$(ALONE): alone-%: .venv-alone-%/ready
	.venv-alone-$*/bin/pytest -q tests/engines/test_$*.py

.venv/ready: $(PACKAGES:=/pyproject.toml)
	$(PYTHON) -m venv .venv
	.venv/bin/pip install -q $(addprefix -e ,core plugins/onnx)
	touch $@

.venv-dev/ready: $(PACKAGES:=/pyproject.toml) requirements-dev.txt constraints.txt
	$(PYTHON) -m venv .venv-dev
	.venv-dev/bin/pip install -q $(addprefix -e ,$(DEV)) -r requirements-dev.txt -c constraints.txt
	touch $@

.venv-alone-%/ready: core/pyproject.toml plugins/%/pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-alone-$*
	.venv-alone-$*/bin/pip install -q $(addprefix -e ,core plugins/$*) pytest pytest-timeout \
		$(if $(filter onnx,$*),onnx) $(if $(filter sklearn,$*),httpx2 pandas xgboost-cpu) -c constraints.txt
	touch $@

.venv-3.%/ready: $(PACKAGES:=/pyproject.toml)
	$(call find,3.$*) -m venv .venv-3.$*
	.venv-3.$*/bin/pip install -q $(addprefix -e ,core plugins/onnx) httpx2 hypothesis pytest pytest-timeout
	touch $@

clean:
	rm -rf .venv .venv-* build dist .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
