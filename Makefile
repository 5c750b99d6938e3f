# Everything a developer or the CI does with gapless; `make` alone lists it. PYTHON and VENV may be given.
VENV ?= .venv
SEEDS ?= 2000
ROUNDS ?= 50
MINUTES ?= 2
WORKERS ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable
NODE_SDK := tests/acceptance/node/node_modules/.package-lock.json
WEB := tools/web/node_modules/.package-lock.json
AUTOBAHN := .cache/autobahn/wstest
# Tests that start real processes: one at a time, so that no deadline depends on a neighbour.
OUTSIDE := $(wildcard tests/acceptance tests/faults tests/browser tests/docs)

.PHONY: help dev test check format vendor web docs screenshots simulate bugs faults bench test-pythons pure clean

help: ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 15

dev: $(VENV)/installed ## install gapless and run it with all defaults: insecure, for development
	@$(BIN)/gapless dev

test: $(VENV)/installed-dev $(NODE_SDK) $(WEB) $(AUTOBAHN) check ## install all that the tests need, then run every check and test
	@tools/install-programs
	@tools/install-proxies
	$(BIN)/pytest --numprocesses $(WORKERS) $(OUTSIDE:%=--ignore=%)
	$(BIN)/pytest $(OUTSIDE)

check: $(VENV)/installed-dev ## format, lint, types, imports
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	tools/check-js

format: $(VENV)/installed-dev ## format the code, and mend what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

vendor: $(WEB) ## take what browsers load of others from the packages that tools/web pins
	tools/vendor
	node tools/web/bundle.mjs

web: $(WEB) ## join the console's modules into what is shipped, after each change
	node tools/web/bundle.mjs

docs: $(VENV)/installed-dev ## build the documentation into .cache/docs
	$(BIN)/python -m mkdocs build --strict

screenshots: $(VENV)/installed-dev ## take the screenshots of the console and of the demo anew, into docs/screenshots
	$(BIN)/python -m docs.generate.screenshots

simulate: $(VENV)/installed-dev ## whole nodes on a simulated clock, store and bus; SEEDS=100000
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

bugs: $(VENV)/installed-dev ## plant each known bug and show that it is caught
	$(BIN)/python -m tests.simulation --bugs
	$(BIN)/python -m tests.faults.queue_bugs
	$(BIN)/python -m pytest --no-header -v tests/backends/test_queues_bugs.py tests/backends/test_groups_bugs.py \
	  tests/backends/redis/test_bugs.py \
	  tests/backends/test_sqlite_crash.py::test_a_store_that_does_not_sync_each_commit_is_caught \
	  tests/faults/test_store_faults.py::test_a_store_that_goes_on_after_a_failed_sync_is_caught
	$(BIN)/python -m tests.faults.cluster.bugs

faults: $(VENV)/installed-dev ## nodes, Redis and clients under faults, and kill -9; MINUTES=60 ROUNDS=1000
	$(BIN)/python -m tests.faults.cluster --minutes $(MINUTES)
	$(BIN)/python -m tests.faults.kill --rounds $(ROUNDS)
	$(BIN)/python -m tests.faults.kill_workers --rounds $(ROUNDS)

bench: $(VENV)/installed-dev ## measure gapless beside its peers in one run
	$(BIN)/python -m bench

test-pythons: test-3.11 test-3.12 test-3.13 ## test the pure parts and the backends under each Python that is there

test-3.%:
	@if python=$$(tools/find-python 3.$*); then $(MAKE) pure VENV=.cache/python-3.$* PYTHON="$$python"; fi

pure: $(VENV)/installed-dev
	$(BIN)/pytest --numprocesses $(WORKERS) tests/core tests/protocol tests/backends

clean: ## remove all that was installed or cached here
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	rm -rf tests/acceptance/node/node_modules tools/web/node_modules

$(VENV)/pyvenv.cfg:
	tools/make-venv $(VENV) "$(PYTHON)"

$(VENV)/installed: $(VENV)/pyvenv.cfg pyproject.toml
	$(PIP) .
	@touch $@

$(VENV)/installed-dev: $(VENV)/pyvenv.cfg pyproject.toml
	$(PIP) '.[dev]'
	@touch $@

$(NODE_SDK): tests/acceptance/node/package-lock.json
	tools/install-node tests/acceptance/node

$(WEB): tools/web/package-lock.json
	tools/install-node tools/web

$(AUTOBAHN): tools/install-autobahn
	tools/install-autobahn
