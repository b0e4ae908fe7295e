# The targets of this repository. Plain `make` lists them.
# The virtual environment is .venv, created with the first usable Python 3.11+; `make PYTHON=/path/to/python …` selects another.

PYTHONS := python3.13 python3.12 python3.11 python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
SBOM := .venv-sbom
IMAGE ?= ims-token-broker
BUILD ?=
PYTHON_IMAGE ?= python:3.12-slim

.DEFAULT_GOAL := help
VERSIONS ?= python3.11 python3.12 python3.13
# Test files in parallel; most of them spend their time waiting.
WORKERS ?= 2
# The tests that failed in the last run; an error if there are none, for then the run itself failed.
LAST_FAILED := --last-failed --last-failed-no-failures none

.PHONY: help install run test test-failed test-versions coverage mutants venv-dev check fmt lock schedules fleet-year faults faults-soak faults-bugs bench bench-guard image sbom chart clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(VENV)/.runtime ## Install the command as .venv/bin/ims-token-broker

run: $(VENV)/.runtime ## Try it: broker, local IMS and two demo tenants in one process (ARGS="--port 8080")
	@exec $(VENV)/bin/ims-token-broker dev $(ARGS)

test: $(VENV)/.dev ## Run the whole test suite (ARGS="-k cli"; WORKERS=0 for one test at a time)
	$(VENV)/bin/pytest --numprocesses $(WORKERS) --dist loadfile $(ARGS)

test-failed: $(VENV)/.dev ## Run the tests that failed last once more, one at a time; with more than 5, fail at once
	@$(VENV)/bin/python -c 'import json, sys; failed = json.load(open(".pytest_cache/v/cache/lastfailed")); \
	  print("These failed, and run once more, alone:", *failed, sep="\n  "); sys.exit(len(failed) > 5)'
	$(VENV)/bin/pytest $(LAST_FAILED)

venv-dev: $(VENV)/.dev ## Create the environment of the tests only

test-versions: ## Run the fast tests on other installed Python versions (VERSIONS="python3.12 …")
	@for python in $(VERSIONS); do \
	  "$$python" -c 'import venv' 2>/dev/null || { echo "$$python is not installed: skipped."; continue; }; \
	  $(MAKE) --no-print-directory PYTHON="$$python" VENV=".venv-$$python" venv-dev && \
	  ".venv-$$python/bin/pytest" -q --numprocesses $(WORKERS) --dist loadfile tests/unit tests/contract clients/python || \
	  $(MAKE) --no-print-directory VENV=".venv-$$python" test-failed || exit 1; \
	done

coverage: $(VENV)/.dev ## Run the unit tests, and list the branches of app/domain and app/service that they do not reach (MIN=100)
	@$(VENV)/bin/coverage erase
	$(VENV)/bin/coverage run -m pytest -q --numprocesses $(WORKERS) --dist loadfile tests/unit || $(VENV)/bin/coverage run -m pytest -q $(LAST_FAILED)
	@$(VENV)/bin/coverage combine --quiet
	$(VENV)/bin/coverage report --skip-covered --show-missing --fail-under $(or $(MIN),100)

mutants: $(VENV)/.dev ## Change the code of a sample of places, and count what the unit tests detect (MODULE=service/mint SAMPLE=25 SEED=0 MIN=90)
	$(VENV)/bin/python -m tests.mutation --sample $(or $(SAMPLE),25) --seed $(or $(SEED),0) --minimum $(or $(MIN),90) $(MODULE)

check: $(VENV)/.dev ## Check format, lint, types and import directions; change nothing
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/ruff check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

fmt: $(VENV)/.dev ## Format the code and fix what can be fixed
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

lock: ## Resolve the dependencies again into requirements/*.lock (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv, which resolves for every platform at once." >&2; exit 1; }
	uv pip compile $(LOCKING) pyproject.toml --output-file requirements/runtime.lock
	uv pip compile $(LOCKING) pyproject.toml --extra otel --constraints requirements/runtime.lock --output-file requirements/otel.lock
	uv pip compile $(LOCKING) pyproject.toml --extra aws --constraints requirements/runtime.lock --output-file requirements/aws.lock
	uv pip compile $(LOCKING) pyproject.toml --group dev --constraints requirements/runtime.lock --output-file requirements/dev.lock
	uv pip compile $(LOCKING) --group sbom --output-file requirements/sbom.lock
	printf 'hatchling\neditables\n' | uv pip compile $(LOCKING) --no-annotate - --constraints requirements/dev.lock --output-file requirements/build.lock

schedules: $(VENV)/.dev ## Search seeded interleavings of simulated replicas for a broken promise (COUNT=100000, SEED=0)
	$(VENV)/bin/python -m tests.simulation --count $(or $(COUNT),100000) --seed $(or $(SEED),0)

faults: $(VENV)/.dev ## Run the tests of the fault table, with a line per row (ROWS="1-15")
	$(VENV)/bin/python -m tests.faults --workers $(WORKERS) --rows "$(or $(ROWS),1-86)"

faults-soak: $(VENV)/.dev ## Inject random faults into real processes, and check what clients saw (SECONDS=1200, SEED=random)
	$(VENV)/bin/python -m tests.faults.soak --seconds $(or $(SECONDS),1200) $(if $(SEED),--seed $(SEED)) $(ARGS)

faults-bugs: $(VENV)/.dev ## Plant bugs into real brokers, and check that the soak finds each (BUGS="expired_is_served …")
	$(VENV)/bin/python -m tests.faults.soak.bugs $(BUGS)

fleet-year: $(VENV)/.dev ## Simulate one year of nine replicas in three regions, with the outages of a calendar (ARGS="--orgs 100")
	$(VENV)/bin/python -m tests.simulation.fleet_year $(ARGS)

bench: $(VENV)/.dev ## Run the benchmarks, and write benchmarks/RESULTS.md (ARGS="warm_path peers")
	$(VENV)/bin/python -m benchmarks $(ARGS)

bench-guard: $(VENV)/.dev ## Fail if the warm path is slower than the committed results, by its ratio to a raw ASGI app
	$(VENV)/bin/python -m benchmarks.guard

image: ## Build the container image (docker, podman or buildah, or BUILD="tool build"; IMAGE=name:tag, PYTHON_IMAGE=…)
	@if [ -n "$(BUILD)" ]; then exec $(BUILD) $(IMAGE_OPTIONS); fi; \
	if docker info >/dev/null 2>&1; then exec docker build $(IMAGE_OPTIONS); fi; \
	for tool in podman buildah; do \
	  if $$tool info >/dev/null 2>&1; then exec $$tool build --format docker $(IMAGE_OPTIONS); fi; \
	done; echo "make image needs a working docker, podman or buildah." >&2; exit 1

# Reads the packages of the image from an environment of their own, so that markers are resolved, licences are known, and no package of
# the tests or of the tool is included.
sbom: $(SBOM)/.made ## Write dist/sbom.cdx.json: the Python packages of the image, as CycloneDX 1.6
	@mkdir -p dist
	@$(SBOM)/bin/cyclonedx-py environment --pyproject pyproject.toml --spec-version 1.6 --output-format JSON \
	  --output-reproducible --output-file dist/sbom.cdx.json $(SBOM)/image
	@$(SBOM)/bin/python -c 'import json, pathlib, sys; path = pathlib.Path(sys.argv[1]); bom = json.loads(path.read_text()); \
	  bom["metadata"]["component"]["version"] = sys.argv[2]; path.write_text(json.dumps(bom, indent=2) + "\n")' \
	  dist/sbom.cdx.json "$(VERSION)"

chart: $(VENV)/.dev ## Check the Helm chart and package it into dist/ (builds helm if it is not installed)
	@helm=$$($(VENV)/bin/python -m tests.support.tools helm) || exit 1; chart=deploy/helm/ims-token-broker; \
	for values in $$chart/ci/*-values.yaml; do \
	  echo "Checking $$values"; \
	  "$$helm" lint --quiet --strict $$chart --values $$values && \
	    "$$helm" template chart $$chart --values $$values >/dev/null || exit 1; \
	done; "$$helm" package $$chart --destination dist

clean: ## Remove the environment, caches and build results
	rm -rf $(VENV) .venv-* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.* htmlcov mutants dist
	find app clients tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The image's labels, and the time of its files: the time of the commit, so that the same commit gives the same image.
VERSION ?= $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' app/__init__.py)
REVISION ?= $(shell git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null)
CREATED ?= $(shell TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null)
SOURCE ?=
SOURCE_DATE_EPOCH ?= $(or $(shell git log -1 --format=%ct 2>/dev/null),315532800)
IMAGE_OPTIONS = --tag $(IMAGE) $(foreach name,PYTHON_IMAGE VERSION REVISION CREATED SOURCE SOURCE_DATE_EPOCH,--build-arg "$(name)=$($(name))") .

LOCKING := --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade

# A stamp file records that .venv has the packages of these files, so that a second run does nothing.
$(VENV)/.runtime: requirements/runtime.lock requirements/build.lock pyproject.toml | $(VENV)/bin/pip
	@echo "Installing the packages of requirements/runtime.lock; this takes one to several minutes the first time."
	@$(PIP) install --quiet --require-hashes -r requirements/runtime.lock -r requirements/build.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# The tests' packages include those of the program.
$(VENV)/.dev: requirements/dev.lock requirements/runtime.lock requirements/build.lock pyproject.toml clients/python/pyproject.toml | $(VENV)/bin/pip
	@echo "Installing the packages of requirements/dev.lock; this takes some minutes the first time."
	@$(PIP) install --quiet --require-hashes -r requirements/dev.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable . --editable clients/python
	@touch $(VENV)/.runtime $@

$(SBOM)/.made: requirements/sbom.lock requirements/otel.lock requirements/aws.lock | $(VENV)/bin/pip
	@echo "Installing the packages of requirements/sbom.lock, otel.lock and aws.lock; this takes one to several minutes the first time."
	@rm -rf $(SBOM) && $(VENV)/bin/python -m venv $(SBOM) && $(VENV)/bin/python -m venv --without-pip $(SBOM)/image
	@$(SBOM)/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements/sbom.lock
	@$(SBOM)/bin/python -m pip --disable-pip-version-check --python $(SBOM)/image/bin/python install --quiet --require-hashes \
	  -r requirements/otel.lock -r requirements/aws.lock
	@touch $@

# A command of that name may be a shim for a Python that is not installed, or lack venv: so each one is tried.
$(VENV)/bin/pip:
	@for python in $(or $(PYTHON),$(PYTHONS)); do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  "$$python" -m venv --clear $(VENV) >/dev/null 2>&1 && [ -x $@ ] && \
	    echo "Created $(VENV) with $$("$$python" --version)." && exit 0; \
	done; \
	echo "Python 3.11 or newer with venv was not found among: $(or $(PYTHON),$(PYTHONS))." >&2; \
	echo "Install it (on Debian also python3-venv), or select one: make PYTHON=/path/to/python3 …" >&2; exit 1
