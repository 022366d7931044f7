# The tasks of this project, all of them. `make demo` and `make test` need python3 (3.11 or newer), make and the package index.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready
OPENAI3 := .venv-openai3

# Without compiled modules every start would compile half a million lines again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test suite test-openai3 mutants fuzz bench check format lock clean services

help:  ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## prepare .venv with every extra, at the locked versions

# uv installs what requirements/ locks, hashes checked; it comes along into the environment if the machine has none.
$(STAMP): pyproject.toml requirements/all.txt requirements/uv.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@command -v uv >/dev/null || test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	@UV="$$(command -v uv || echo $(BIN)/uv)"; export VIRTUAL_ENV="$(CURDIR)/$(VENV)"; \
	  $$UV pip install --quiet --compile-bytecode --require-hashes -r requirements/all.txt && \
	  $$UV pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP)  ## the whole system in one walk
	@$(BIN)/garrison demo

services: $(STAMP)  # what tests run that isn't Python: nginx, Redis, PostgreSQL and Chromium from Debian when root there, and npm's programs
	@sh tests/services.sh
	@sh tests/npm.sh $(BIN)

test: $(STAMP) services $(OPENAI3)/.ready  ## every test, with branch coverage
	@$(MAKE) -j 2 --no-print-directory suite test-openai3

suite: $(STAMP)  # what `make test` runs beside test-openai3
	@$(BIN)/python -m pytest -n 2 --cov --cov-report=term --dist=loadgroup

# LiteLLM, and so DSPy, goes with OpenAI's library below 3 alone: what the adapters do with the newer one is tested apart.
test-openai3: $(OPENAI3)/.ready  ## the adapters' tests with OpenAI's library from version 3 on
	@$(OPENAI3)/bin/python -m pytest -q tests/clients/test_adapters.py

$(OPENAI3)/.ready: $(STAMP) requirements/openai3.txt
	@test -x $(OPENAI3)/bin/python || $(PYTHON) -m venv --without-pip $(OPENAI3)
	@UV="$$(command -v uv || echo $(BIN)/uv)"; export VIRTUAL_ENV="$(CURDIR)/$(OPENAI3)"; \
	  $$UV pip install --quiet --require-hashes -r requirements/openai3.txt && \
	  $$UV pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

mutants: $(STAMP) services  ## take each check of the authorization server away in turn, and see the tests notice
	@$(BIN)/python -m tests.mutants.run

fuzz: $(STAMP)  ## 20,000 bad requests to the authorization server, others every day
	@GARRISON_FUZZ=20000 GARRISON_FUZZ_SEED=$$(date +%Y%j) $(BIN)/python -m pytest -n 2 tests/authserver/test_fuzz.py

bench: $(STAMP)  ## what the guard, its budgets, a token and the clients cost, as ratios in one run
	@FASTMCP_LOG_ENABLED=false $(BIN)/python -m bench.guard
	@FASTMCP_LOG_ENABLED=false $(BIN)/python -m bench.stages
	@$(BIN)/python -m bench.throughput
	@$(BIN)/python -m bench.budgets
	@$(BIN)/python -m bench.clients
	@sh tests/npm.sh $(BIN)
	@$(BIN)/python -m bench.authserver

check: $(STAMP)  ## style, types, layers and documentation
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(STAMP)  ## rewrite the code in the project's style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: $(STAMP)  ## resolve the dependencies anew into requirements/
	@sh requirements/lock.sh

clean:  ## remove everything that was made
	rm -rf $(VENV) $(OPENAI3) .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache artefacts tests/foreign/node_modules
