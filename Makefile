# The project's commands. Everything runs in .venv, which is made on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo deploy-demo test check docs lowest format schema lists bench clean

help: ## show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python >= 3.11 is needed, $(PYTHON) is older: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@rm -rf *.egg-info # of installations of earlier versions: their entry points would be found first
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $(READY)

# In a folder of its own, so that a repeated demo goes on where it was and computes nothing twice.
demo: $(READY) ## set up, train DTFL on digits and audit the run, in runs/demo (five to eight minutes; goes on if repeated)
	$(BIN)/dtfl-private train --out runs/demo --resume
	$(BIN)/dtfl-private audit runs/demo

# Server and clients as processes of their own, which speak over TLS; the folder is made anew each time.
deploy-demo: $(READY) ## set up, train DTFL on digits with a server and three real clients, and audit what crossed the wire (two minutes)
	$(BIN)/python -m examples.deploy_demo

# One process for each core, and one thread in each: more wait for each other. Compiled modules are kept, whatever the
# environment says: dozens of tests begin processes of their own.
test: $(READY) ## set up and run all tests, on all cores
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -q --numprocesses auto --dist loadfile

check: $(READY) ## format, lint, types and documentation, all strict
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@# A user's script, from a folder where nothing but the installation leads to the package:
	cd docs && ../$(BIN)/mypy --strict --config-file= --cache-dir ../.mypy_cache/user -c 'from dtfl_private import TrainConfig, train; train(TrainConfig())'
	@$(MAKE) --no-print-directory docs

# The links and anchors of all pages are checked; the build itself needs no network, and its pages load nothing from elsewhere.
docs: $(READY) ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# Warnings are no errors here: old versions of libraries warn of newer ones of others.
lowest: ## run the quick tests with the lowest version of every dependency that pyproject.toml allows, in .venv-lowest
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
		print(*(need.replace(">=", "==") for need in project["dependencies"]), sep="\n")' > $(VENV)-lowest/lowest.txt
	$(VENV)-lowest/bin/python -m pip install --quiet --constraint $(VENV)-lowest/lowest.txt --editable '.[dev]'
	$(VENV)-lowest/bin/python -m pytest -q --numprocesses auto --dist loadfile --override-ini filterwarnings= \
		--ignore tests/end_to_end --ignore tests/statistics

format: $(READY) ## rewrite the code in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

schema: $(READY) ## write docs/audit.schema.json anew
	$(BIN)/python -c 'from dtfl_private.verdicts.findings_file import findings_schema as text; print(text(), end="")' \
		> docs/audit.schema.json

lists: $(READY) ## write what `list` shows of the built-in plug-ins, and what `help` explains, anew
	$(BIN)/python -c 'from dtfl_private.cli.listed.built_in import built_in_document as text; print(text(), end="")' \
		> dtfl_private/cli/listed/built_in.json
	$(BIN)/python -c 'from pathlib import Path; from dtfl_private.cli.listed.topics import topics_document as text; print(text(Path("docs")), end="")' \
		> dtfl_private/cli/listed/topics.json

bench: $(READY) ## the figures of docs/reference/benchmarks.md, measured on this machine (long)
	$(BIN)/python -m benchmarks

clean: ## remove the virtual environment and the caches
	rm -rf $(VENV) $(VENV)-lowest site *.egg-info .pytest_cache .mypy_cache .ruff_cache
