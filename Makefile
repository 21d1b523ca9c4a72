# `make` alone lists what there is.

# Python 3.11 is what all pins were tried on; a newer one is taken if that is all.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
PY := $(VENV)/bin/python
WEB_PORT ?= 8000
SIM_PORT ?= 8010

.DEFAULT_GOAL := help
.PHONY: help setup run worker simulator seed test test-fast test-race bench chaos fmt check ci shell

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-11s %s\n", $$1, $$2 }'

$(VENV)/runtime: requirements.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; $(PYTHON) is older."; exit 1; }
	@test -x $(PY) || { echo "Creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing requirements.txt"
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/dev: $(VENV)/runtime requirements-dev.txt
	@echo "Installing requirements-dev.txt"
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

.env: | $(VENV)/runtime
	@$(PY) -m scripts.write_env

setup: $(VENV)/dev .env ## Make .venv with everything, and .env with fresh keys

run: $(VENV)/runtime .env ## Start web, worker and the M-Pesa simulator with demo data
	@$(PY) -m scripts.run --web-port $(WEB_PORT) --sim-port $(SIM_PORT)

worker: $(VENV)/runtime .env ## Start the tasks' worker alone
	@$(PY) manage.py worker

simulator: $(VENV)/runtime .env ## Start the M-Pesa simulator alone
	@$(PY) manage.py simulator --port $(SIM_PORT)

seed: $(VENV)/runtime .env ## Migrate and load the demo shops
	@$(PY) manage.py migrate --verbosity 0
	@$(PY) manage.py demo_data

shell: $(VENV)/runtime .env ## Open a Python shell with the models loaded
	@$(PY) manage.py shell

test: $(VENV)/dev ## Run the whole suite: SQLite, PostgreSQL and Redis, browser
	@$(PY) -m scripts.test

test-fast: $(VENV)/dev ## Run what is quick, on SQLite
	@$(PY) -m scripts.test --only fast

test-race: $(VENV)/dev ## Run the races, on PostgreSQL
	@$(PY) -m scripts.test --only race

bench: $(VENV)/dev ## Measure callbacks and pushes beside pgbench
	@$(PY) -m bench

CHAOS ?= --seeds 200 --events 4000 --minutes 10
chaos: $(VENV)/runtime .env ## Run shop-days in which everything goes wrong
	@$(PY) manage.py chaos $(CHAOS)

fmt: $(VENV)/dev ## Format the code and fix what can be fixed
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

check: $(VENV)/dev ## Check format, lint, types, migrations, deployment, architecture
	@$(PY) -m scripts.check

ci: check test ## What the build server runs
