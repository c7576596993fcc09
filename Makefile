# Everything a person needs, as one word each. `make` alone lists the words.
#
# `make demo` and `make test` work as the first command on a fresh clone: they make .venv and
# install into it what they need, again when pyproject.toml or constraints.txt has changed.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
FOR_RUNNING := $(VENV)/.made-for-running
FOR_WORK := $(VENV)/.made-for-work

# An environment that cannot run pip, or was made for another folder, counts as not made at all.
ifneq ($(wildcard $(VENV)/.made-for-*),)
ifneq ($(shell { test "$$(cat $(VENV)/.complete)" = "$(CURDIR)" && $(BIN)/python -c 'import pip; print("usable")'; } 2>/dev/null),usable)
$(shell rm -f $(FOR_RUNNING) $(FOR_WORK))
endif
endif

# One step of a check: its name, its time, and its exit code as make's own.
define step
@printf '== %s\n' '$(1)'; TIMEFORMAT='   %1R s'; time $(BIN)/$(1)
endef

.PHONY: help setup demo test check bench prove prove-million screenshots translations constraints clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

setup: $(FOR_WORK) ## make .venv with everything for working on slotmeter

demo: $(FOR_RUNNING) ## run a small town with virtual meters (DEMO_ARGS="--for 2m --meters 30")
	@$(BIN)/slotmeter demo $(DEMO_ARGS)

test: check ## run all checks, then all tests (TEST_ARGS="-k words" narrows the tests)
	@printf '== pytest\n'
	@$(BIN)/python -m pytest -n 2 --dist loadgroup $(TEST_ARGS)

check: $(FOR_WORK) ## lint, format, types, layers and house rules, without the tests
	$(call step,ruff check --quiet)
	$(call step,ruff format --check --quiet)
	$(call step,mypy)
	$(call step,lint-imports --no-logo)
	$(call step,python -m pytest -q -p no:cacheprovider tests/test_tidy.py)

bench: $(FOR_WORK) ## measure: every benchmarks/bench_*.py in turn
	@for program in $(sort $(wildcard benchmarks/bench_*.py)); do \
	    printf '== %s\n' "$$program"; $(BIN)/python "$$program"; done

prove: $(FOR_WORK) ## run every tests/proofs/prove_*.py at full size, reports in docs/proofs/
	@for program in $(sort $(wildcard tests/proofs/prove_*.py)); do \
	    printf '== %s\n' "$$program"; \
	    $(BIN)/python "$$program" --out docs/proofs $(PROVE_ARGS); done

prove-million: $(FOR_WORK) ## the proof of crashes with a million sales on SQLite; takes hours
	@$(BIN)/python tests/proofs/prove_crash.py --database sqlite --size 1000000 \
	    --out docs/proofs --page crash-million $(PROVE_ARGS)

screenshots: $(FOR_WORK) ## photograph the dashboards for docs/images/ (needs chromium)
	@$(BIN)/python docs/screenshots.py

translations: $(FOR_WORK) ## find the texts in the code and compile their translations
	@$(BIN)/python docs/translations.py

constraints: $(FOR_WORK) ## choose the newest versions anew and write them to constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip compile pyproject.toml --all-extras --upgrade --python-version 3.11 \
	    --only-binary :all: --no-binary chirpstack-api \
	    --no-emit-index-url --no-header --no-annotate --quiet --output-file constraints.txt
	@git diff --stat -- constraints.txt

clean: ## remove .venv, caches and what the demo wrote
	rm -rf $(VENV) demo-data build dist htmlcov .coverage .hypothesis \
	    .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(FOR_RUNNING): pyproject.toml constraints.txt
	@.ci/install all
	@touch $@

$(FOR_WORK): pyproject.toml constraints.txt
	@.ci/install all,dev
	@touch $(FOR_RUNNING) $@
