# Every target makes .venv and installs what it needs first. `make` alone lists them.
# PORT=8010 make run    another port
# NO_BROWSER=1 make test    without the tests that need Chromium

SHELL := /bin/bash
VENV := .venv
PY := $(VENV)/bin/python
# The environment of the machine must not leak in: another PYTHONPATH, user packages.
export PYTHONNOUSERSITE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONHOME
unexport PYTHONPATH
PYTEST_ARGS ?=
TEST_WORKERS ?= 2
# What production must be told; only for the checks of `make lint`.
DUMMY = FAIRLEAD_ENV=production \
	FAIRLEAD_SECRET_KEY=lint-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUVWXYZ \
	FAIRLEAD_ENCRYPTION_KEYS=bGludC1saW50LWxpbnQtbGludC1saW50LWxpbnQtbGk= \
	FAIRLEAD_BASE_URL=https://fairlead.example FAIRLEAD_ALLOWED_HOSTS=fairlead.example

.DEFAULT_GOAL := help
.PHONY: help run test lint bench clean install install-dev

help:
	@echo "make run    start Fairlead with demo data (PORT=8000)"
	@echo "make test   run all tests (NO_BROWSER=1 leaves the browser out)"
	@echo "make lint   style, types, layers, migrations, deployment checks"
	@echo "make bench  measure what docs promise (takes minutes)"
	@echo "make clean  remove .venv and caches; var/, which holds the data, stays"

run: install
	@exec $(PY) manage.py demo

# Two groups: what shares a machine well runs in parallel; browsers and killed processes have it
# to themselves. Both run, and either failing fails the target.
test: install-dev
	@status=0; \
	$(PY) -m pytest -m "not browser and not chaos" -n $(TEST_WORKERS) --dist worksteal $(PYTEST_ARGS) || status=1; \
	$(PY) -m pytest -m "browser or chaos" $(PYTEST_ARGS) || status=1; \
	exit $$status

lint: install-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy .
	$(VENV)/bin/python $(VENV)/bin/lint-imports
	$(PY) manage.py makemigrations --check --dry-run
	$(DUMMY) $(PY) manage.py check --deploy --fail-level WARNING

bench: install-dev $(VENV)/.bench
	@$(PY) -m benchmarks

clean:
	@if [ -x $(PY) ] && [ -d var ]; then $(PY) manage.py db stop >/dev/null 2>&1 || true; fi
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './var/*' -prune -exec rm -rf {} +
	@echo "var/ holds the database and stays; remove it by hand to begin anew."

install: $(VENV)/.runtime
install-dev: $(VENV)/.dev

$(PY):
	@set -e; found=; \
	for python in $(PYTHON) python3.11 python3.12 python3.13 python3 python; do \
		if command -v $$python >/dev/null 2>&1 && $$python -c \
			'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; \
		then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "Fairlead needs Python 3.11, 3.12 or 3.13, and none of them is on PATH." >&2; \
		echo "Install one (Debian: apt install python3 python3-venv), or name it: make PYTHON=…" >&2; \
		exit 1; \
	fi; \
	if ! $$found -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "$$found cannot make virtual environments." >&2; \
		echo "Install its venv module (Debian: apt install python3-venv)." >&2; \
		exit 1; \
	fi; \
	echo "Making $(VENV) with $$($$found --version)…"; \
	$$found -m venv --clear $(VENV)

# Stamps, so that a changed list of requirements is installed by whatever runs next.
$(VENV)/.runtime: requirements.txt | $(PY)
	@echo "Installing Fairlead's requirements…"
	@$(PY) -m pip install --quiet --requirement requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt requirements.txt | $(PY)
	@echo "Installing what tests and checks need…"
	@$(PY) -m pip install --quiet --requirement requirements-dev.txt
	@touch $(VENV)/.runtime $@

$(VENV)/.bench: benchmarks/requirements.txt $(VENV)/.dev
	@echo "Installing what the benchmarks compare with…"
	@$(PY) -m pip install --quiet --requirement benchmarks/requirements.txt
	@touch $@
