# What can be done with this tree. Plain `make` lists it.
# The environment is .venv, made by the first Python 3.11+ that can; `make PYTHON=/path/to/python …` names another.

PYTHONS := python3.13 python3.12 python3.11 python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
IMAGE ?= ims-token-broker

.DEFAULT_GOAL := help
VERSIONS ?= python3.11 python3.12 python3.13

.PHONY: help run test test-versions venv-dev check fmt lock bench image clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: $(VENV)/.runtime ## Try it: broker, local IMS and two demo tenants in one process (ARGS="--port 8080")
	@exec $(VENV)/bin/ims-token-broker dev $(ARGS)

test: $(VENV)/.dev ## Run the whole test suite (ARGS="-k cli")
	$(VENV)/bin/pytest $(ARGS)

venv-dev: $(VENV)/.dev ## Make the environment of the tests and nothing else

test-versions: ## Run the fast tests on the other Python versions that are here (VERSIONS="python3.12 …")
	@for python in $(VERSIONS); do \
	  "$$python" -c 'import venv' 2>/dev/null || { echo "No $$python here: skipped."; continue; }; \
	  $(MAKE) --no-print-directory PYTHON="$$python" VENV=".venv-$$python" venv-dev && \
	  ".venv-$$python/bin/pytest" -q tests/unit tests/contract || exit 1; \
	done

check: $(VENV)/.dev ## Check format, lint, types and import directions; change nothing
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/ruff check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

fmt: $(VENV)/.dev ## Format the code and fix what can be fixed
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

lock: ## Resolve the dependencies anew into requirements/*.lock (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv, which resolves for every platform at once." >&2; exit 1; }
	uv pip compile $(LOCKING) pyproject.toml --output-file requirements/runtime.lock
	uv pip compile $(LOCKING) pyproject.toml --extra otel --constraints requirements/runtime.lock --output-file requirements/otel.lock
	uv pip compile $(LOCKING) pyproject.toml --group dev --constraints requirements/runtime.lock --output-file requirements/dev.lock
	printf 'hatchling\neditables\n' | uv pip compile $(LOCKING) --no-annotate - --constraints requirements/dev.lock --output-file requirements/build.lock

bench: $(VENV)/.dev ## Measure the warm path on this machine
	$(VENV)/bin/python -m benchmarks.warm_path $(ARGS)

image: ## Build the container image (docker, podman or buildah; IMAGE=name:tag)
	@for tool in docker podman buildah; do \
	  if $$tool info >/dev/null 2>&1; then exec $$tool build --tag $(IMAGE) .; fi; \
	done; echo "make image needs docker, podman or buildah, running." >&2; exit 1

clean: ## Remove the environment, caches and whatever was built
	rm -rf $(VENV) .venv-* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage htmlcov dist
	find app tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

LOCKING := --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade

# A stamp says that .venv holds what these files name; a second run has nothing to do.
$(VENV)/.runtime: requirements/runtime.lock requirements/build.lock pyproject.toml | $(VENV)/bin/pip
	@echo "Installing what requirements/runtime.lock names; this takes a minute the first time."
	@$(PIP) install --quiet --require-hashes -r requirements/runtime.lock -r requirements/build.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# The tests' packages include all that the program needs.
$(VENV)/.dev: requirements/dev.lock requirements/runtime.lock requirements/build.lock pyproject.toml | $(VENV)/bin/pip
	@echo "Installing what requirements/dev.lock names; this takes some minutes the first time."
	@$(PIP) install --quiet --require-hashes -r requirements/dev.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $(VENV)/.runtime $@

# A command of that name may be a mere pointer to a Python that is not there, or lack venv: so each one is tried.
$(VENV)/bin/pip:
	@for python in $(or $(PYTHON),$(PYTHONS)); do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  "$$python" -m venv --clear $(VENV) >/dev/null 2>&1 && [ -x $@ ] && \
	    echo "Made $(VENV) with $$("$$python" --version)." && exit 0; \
	done; \
	echo "No Python that is 3.11 or newer and can make a virtual environment was found among: $(or $(PYTHON),$(PYTHONS))." >&2; \
	echo "Install one (on Debian also python3-venv), or name one: make PYTHON=/path/to/python3 …" >&2; exit 1
