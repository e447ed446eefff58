# Each target sets up its own .venv: a fresh machine needs Python 3.11 or newer, git and make.
#   make test ARGS="-k leak"      options for the program behind a target
#   make test WORKERS=0           in one process, in which a debugger works
#   make test PYTHON=python3.12   another Python for the .venv

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
WORKERS ?= auto

BIN   := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help venv demo test lint audit mutants bench soak clean distclean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

venv: $(READY) ## Set up .venv with everything the other targets need

demo: $(READY) ## Run the whole system on this machine, checked at the end
	$(BIN)/amzmq demo $(ARGS)

# A file's tests stay together: some share what they started.
test: $(READY) ## Run the tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

lint: $(READY) ## Check style, format, types and the arrows between packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict amzmq tests/conformance bench tests/bench
	$(BIN)/lint-imports

# What pip-audit cannot look up fails: an answer that was not given is no good news.
audit: $(READY) ## Look for known holes in what is installed, and for risky code
	$(BIN)/bandit -q -c pyproject.toml -r amzmq
	$(BIN)/python -m pip freeze --exclude-editable > $(VENV)/audited.txt
	$(BIN)/pip-audit --strict --no-deps --disable-pip --progress-spinner off \
	  -r $(VENV)/audited.txt $(ARGS)

mutants: $(READY) ## Make deliberate mistakes, show which the tests miss
	$(BIN)/python -m tests.mutation $(ARGS)

bench: $(READY) ## Run all the benchmarks
	$(BIN)/python -m bench all $(or $(ARGS),--save)

soak: $(READY) ## Run the long tests, ten thousand simulated worlds, an hour of faults
	AMZMQ_SOAK=1 $(BIN)/python -m pytest -s --timeout=1200 \
	  tests/rpc/test_rounds.py tests/rpc/test_many_clients.py $(ARGS)
	$(BIN)/python -m tests.simulation --seeds 10000
	$(BIN)/python -m tests.soak --minutes 60

clean: ## Remove caches and build results
	rm -rf build dist *.egg-info .coverage .coverage.* htmlcov
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name $(VENV) -prune -o -name .git -prune -o -name __pycache__ -type d -print | xargs rm -rf

distclean: clean ## Remove the .venv too
	rm -rf $(VENV)

# The mark is made last, so an install that was cut short is done again.
$(READY): setup.cfg setup.py pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
	  echo "amzmq needs Python 3.11 or newer, and there is no '$(PYTHON)' here." >&2; \
	  echo "Name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "amzmq needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Name another: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "'$(PYTHON) -m venv' failed; some systems have it in a package of its own, python3-venv." >&2; \
	  exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
