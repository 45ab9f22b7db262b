# Every target runs local/setup/bootstrap.py first, which finds or fetches Python 3.13, makes .venv and installs.
# Paths are relative to this file's directory, so that a clone may lie in a path with spaces.
PYTHON ?= python3
PROJECT_PYTHON = $(PYTHON) local/setup/bootstrap.py

# Read by `python -m local`; unset or empty means the default that `make help` names.
export BARS STAMP ZONE SPEED FROM TO PORT WORKERS STATE LOAD_KEYS MARKET_CLOCK STANDBY_OF EXIT
export HOST KEYS SCENARIO USERS SPAWN_RATE DURATION_S LOCUST_ARGS
# Read by `python -m tests.support.mutants`.
export BASE

.DEFAULT_GOAL := help
.PHONY: help run up license notify simulate calendars test mutants bench flame bootstrap migrate smoke drill package \
	loadtest infra-preview lint check format lock clean

help: ## List the targets and their variables
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)$$/\1|\2/p' Makefile | awk -F'|' '{ printf "  make %-13s %s\n", $$1, $$2 }'
	@echo
	@echo '  PORT=7071 WORKERS=1 STATE=.local      for run and up; two stacks need a PORT and a STATE each'
	@echo '  BARS=file.csv[.gz] SPEED=600          for run: bars to replay, as a multiple of real time'
	@echo '  STAMP=end ZONE=America/New_York       for run: what times in BARS mean, if not what the format says'
	@echo '  FROM=2025-10-13 TO=2025-10-17         for run: UTC, from inclusive, to exclusive'
	@echo '  EXIT=1                                for run: leave after the summary; status 1 if it differs'
	@echo '  LOAD_KEYS=1000 MARKET_CLOCK=wall      for up: keys for load in load_keys.txt; wall or bars'
	@echo '  STANDBY_OF=.local                     for up: a passive region of the stack that runs on that STATE'

run: ## Run the main job: the whole stack, a replay of bars, three demo bots, a live view
	@SUPERVISED_BY_MAKE=1 exec $(PROJECT_PYTHON) -m local run

up: ## Run the stack alone, for clients and load; writes stack.json when ready
	@SUPERVISED_BY_MAKE=1 exec $(PROJECT_PYTHON) -m local up

license: ## Manage licenses and keys of a stack or a deployment, e.g. ARGS="list"
	@$(PROJECT_PYTHON) -m operations.license $(ARGS)

notify: ## Test a channel of notifications, list them, retry what was given up, e.g. ARGS="test discord"
	@$(PROJECT_PYTHON) -m operations.notify $(ARGS)

simulate: ## Write the simulated bars again, e.g. ARGS="--help"
	@$(PROJECT_PYTHON) -m local simulate $(ARGS)

calendars: ## Write shared/calendars again from the market-calendar library and our corrections
	@$(PROJECT_PYTHON) -m operations.calendars $(ARGS)

test: ## Run every test; narrow it with ARGS="tests/unit -k bars"
	@$(PROJECT_PYTHON) -m local test $(ARGS)

mutants: ## List faults in changed modules that no unit test notices, e.g. BASE=main or ARGS="--help"
	@$(PROJECT_PYTHON) -m tests.support.mutants $(ARGS)

bench: ## Measure the hot path: worker library, then baseline; writes docs/performance.md, e.g. ARGS="--quick"
	@$(PROJECT_PYTHON) -m pip install --quiet -r requirements-bench.txt
	@$(PROJECT_PYTHON) -m loadtests.bench $(ARGS)

flame: ## Draw a flame graph of the hot path, e.g. ARGS="--help"
	@$(PROJECT_PYTHON) -m pip install --quiet -r requirements-bench.txt
	@$(PROJECT_PYTHON) -m loadtests.bench.flame $(ARGS)

bootstrap: ## Bring a version live in an empty subscription, e.g. ARGS="--stack prod --dry-run"
	@$(PROJECT_PYTHON) -m operations.bootstrap $(ARGS)

migrate: ## Migrate DATABASE_URL's schema, e.g. ARGS="plan" or ARGS="apply --entra --login NAME"
	@$(PROJECT_PYTHON) -m operations.migrate $(ARGS)

smoke: ## Check that a deployment works: HOST=https://..., a bot's key in SIGNAL_CLOUD_KEY
	@$(PROJECT_PYTHON) -m operations.smoke $(ARGS)

drill: ## Compare a restored database with the live one, e.g. ARGS="--help"
	@$(PROJECT_PYTHON) -m operations.restore_drill $(ARGS)

package: ## Pack the app, its packages and their bytecode into one zip, e.g. ARGS="--output app.zip"
	@$(PROJECT_PYTHON) -m operations.package $(ARGS)

loadtest: ## Run Locust against any deployment, e.g. HOST=https://... KEYS=load_keys.txt
	@$(PROJECT_PYTHON) -m pip install --quiet -r requirements-bench.txt
	@$(PROJECT_PYTHON) -m loadtests.locust.run

infra-preview: ## What `pulumi up` would create, without the CLI, e.g. ARGS="--stack prod"
	@$(PROJECT_PYTHON) -m infra.offline.preview $(ARGS)

lint: ## Check style, formatting and types
	@$(PROJECT_PYTHON) -m ruff check .
	@$(PROJECT_PYTHON) -m ruff format --check .
	@$(PROJECT_PYTHON) -m mypy .

check: lint ## What to run after each change: style, types and unit tests, in under a minute
	@$(PROJECT_PYTHON) -m pytest tests/unit tests/test_*.py -q -n 2

format: ## Format the code and fix what ruff can fix
	@$(PROJECT_PYTHON) -m ruff check --fix .
	@$(PROJECT_PYTHON) -m ruff format .

LOCK = pip compile --quiet --no-config --universal --python-version 3.13 --no-annotate --no-header --no-emit-index-url --upgrade

lock: ## Pin what pyproject.toml asks for again, in requirements*.txt
	@$(PROJECT_PYTHON) -m pip install --quiet --upgrade --target .local/uv uv
	@PYTHONPATH=.local/uv $(PROJECT_PYTHON) -m uv $(LOCK) pyproject.toml -o requirements.txt
	@PYTHONPATH=.local/uv $(PROJECT_PYTHON) -m uv $(LOCK) pyproject.toml --group dev -c requirements.txt -o requirements-dev.txt
	@PYTHONPATH=.local/uv $(PROJECT_PYTHON) -m uv $(LOCK) pyproject.toml --group dev --group bench -c requirements-dev.txt -o requirements-bench.txt
	@PYTHONPATH=.local/uv $(PROJECT_PYTHON) -m uv $(LOCK) --group infra -c requirements-dev.txt -o infra/requirements.txt
	@PYTHONPATH=.local/uv $(PROJECT_PYTHON) -m uv $(LOCK) --group policies -o infra/policies/requirements.txt
	@PYTHONPATH=.local/uv $(PROJECT_PYTHON) -m uv $(LOCK) --group checkov -o tests/infra/requirements-checkov.txt

clean: ## Remove .venv, local state and caches
	@$(PYTHON) local/setup/bootstrap.py --clean
