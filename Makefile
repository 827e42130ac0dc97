# Each target works on a fresh machine with Python 3.11 and make.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
# The core's tests also run on the oldest and the newest Python, where they are installed.
OTHER_PYTHONS ?= $(shell for v in 3.10 3.13; do python$$v -c 'import sys; print(sys.executable)' \
	2>/dev/null || ls -d $$HOME/.pyenv/versions/$$v.*/bin/python 2>/dev/null | tail -n 1; done)
ENGINES := $(wildcard plugins/*/pyproject.toml)
PACKAGES := core $(ENGINES:/pyproject.toml=)
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: serve test unit lint bench others clean

serve: .venv/ready  ## serve the example
	@echo
	@echo "When it is ready, in another terminal:"
	@echo "  curl -F images=@examples/digits-onnx/samples/7.png http://127.0.0.1:8080/"
	@echo
	.venv/bin/engineroom serve examples/digits-onnx

test: lint others  ## everything: lint, types, the whole suite
	.venv-dev/bin/pytest

unit: .venv-dev/ready  ## what runs in under a minute
	.venv-dev/bin/pytest tests/unit tests/engines

lint: .venv-dev/ready
	.venv-dev/bin/ruff check .
	.venv-dev/bin/ruff format --check .
	.venv-dev/bin/mypy

bench: .venv-dev/ready  ## what the server costs beside the engine called directly
	.venv-dev/bin/python benchmarks/overhead.py

others: $(foreach python,$(OTHER_PYTHONS),other-$(subst /,@,$(python)))

other-%:
	@python="$(subst @,/,$*)"; home=.venv-$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	echo "the core on $$($$python --version)"; \
	[ -e $$home/ready ] || { rm -rf $$home && $$python -m venv $$home && \
	$$home/bin/pip install -q -e core -e plugins/onnx httpx2 onnx psutil pytest pytest-timeout && touch $$home/ready; } && \
	$$home/bin/pytest -q tests/unit

.venv/ready: $(PACKAGES:=/pyproject.toml)
	$(PYTHON) -m venv .venv
	.venv/bin/pip install -q $(addprefix -e ,core plugins/onnx)
	touch $@

.venv-dev/ready: $(PACKAGES:=/pyproject.toml) requirements-dev.txt
	$(PYTHON) -m venv .venv-dev
	.venv-dev/bin/pip install -q $(addprefix -e ,$(PACKAGES)) -r requirements-dev.txt
	touch $@

clean:
	rm -rf .venv .venv-* build dist .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
