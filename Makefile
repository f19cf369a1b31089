# Everything is installed into $(VENV), with the versions of constraints.txt. `make help` lists the targets.
PYTHON ?= python3
VENV   ?= .venv
PRESET ?= quick
ARGS   ?=
RUN    ?=
SLOW   ?=
SEEDS  := $(if $(filter quick,$(PRESET)),$(if $(ARGS),,--seeds 0-5))
LOWEST := $(addprefix tests/test_,$(addsuffix .py,config gymnasium losses networks optim pbt policies spaces stats vtrace))

BIN     := $(VENV)/bin
# Modules are compiled when they are first imported: most of what torch brings never is.
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --no-compile -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help figure test lowest lint types docs bench times pictures clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18
	@echo "Variables: PYTHON=$(PYTHON) VENV=$(VENV) PRESET=$(PRESET) ARGS=$(ARGS)"

figure: $(VENV)/.installed ## figure 3, preset quick: trains seed 0, draws it with the five in results/, prints where the outputs are
	$(BIN)/mmlib figure 3 --preset $(PRESET) $(SEEDS) $(ARGS)

test: $(VENV)/.installed-test ## run the tests (ARGS="-k vtrace" chooses some; SLOW=1: whole notebooks, browsers, kills too)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --durations=20 \
		$(if $(SLOW),,-m "not slow") $(ARGS)

lowest: ## the tests of arithmetic and settings with the lowest versions that pyproject.toml allows, in a virtual environment of their own
	@test -x $(VENV)-lowest/bin/python || $(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --disable-pip-version-check -c constraints-lowest.txt -e '.[test]'
	$(VENV)-lowest/bin/python -m pytest -n auto $(LOWEST) $(ARGS)

lint: $(VENV)/.installed-test ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-test ## mypy
	$(BIN)/mypy

docs: $(VENV)/.installed-test ## the API's pages, from the docstrings, in build/api
	$(BIN)/python -W error::UserWarning -m pdoc --docformat google --output-directory build/api mmlib

bench: $(VENV)/.installed ## engine, acting, learner and whole-loop speed on this machine
	$(BIN)/python -m benchmarks.speed $(ARGS)

times: $(VENV)/.installed ## what Run All of each notebook takes, cell by cell, over results/ (ARGS="06" chooses one)
	$(BIN)/python -m benchmarks.notebooks --cells $(ARGS)

pictures: $(VENV)/.installed-test ## screenshots in docs/images; wants Chromium, and RUN=a directory with a trained run
	MMLIB_SCREENSHOTS=docs/images MMLIB_SCREENSHOT_RUN=$(RUN) $(BIN)/python -m pytest tests/browser -n 0 $(ARGS)

clean: ## remove caches and build output; keeps $(VENV) and results/
	rm -rf build dist mmlib.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find mmlib tests tools benchmarks notebooks -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e .
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[test]'
	@touch $(VENV)/.installed $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "mmlib needs Python 3.10 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1 | head -n 1). Choose one: make PYTHON=python3.12 ..." >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
		{ rm -f $(BIN)/python; echo "no virtual environment could be made (Debian, Ubuntu: install python3-venv)" >&2; exit 2; }
