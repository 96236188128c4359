# Nightshift. `make help` lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
# Each profile has a home of its own: config/demo.toml's is .nightshift, config/demo-text.toml's .nightshift-demo-text.
PROFILE ?= demo
export NIGHTSHIFT_HOME ?= $(CURDIR)/.nightshift$(addprefix -,$(filter-out demo,$(PROFILE)))
export NIGHTSHIFT_CONFIG ?= $(CURDIR)/config/$(PROFILE).toml
export NIGHTSHIFT_PYTHON := $(CURDIR)/.venv/bin/python
export HF_HUB_DISABLE_TELEMETRY := 1
export MLFLOW_DISABLE_TELEMETRY := true
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
endif

UV := .uv/bin/uv
WORK := .venv/bin/python
CONTROL := .venv-airflow/bin/python
INSTALL := $(UV) pip install --quiet --compile-bytecode --python
LOCAL := PYTHONPATH="$(CURDIR):$(CURDIR)/plugins" $(CONTROL) -m nightshift.local
PREPARED := $(NIGHTSHIFT_HOME)/.prepared
COMPOSE ?= docker compose
NOT_FOR_TEXT := torchvision torchaudio torchcodec
BY_FILE := -n 2 --dist loadfile --no-loadscope-reorder
# Tests of servers and pods wait a lot, so two cores serve more of them than two.
WAITING := -n 3 --dist loadfile --no-loadscope-reorder
SPREAD := -n 2 --dist worksteal

.PHONY: $(shell sed -n "s/^\([a-z-]*\):.*\#\# .*/\1/p" $(firstword $(MAKEFILE_LIST)))

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.ready .venv-airflow/.ready $(PREPARED) ## install both environments; prepare databases, sample model and sample data

nightly: setup ## run the next night through Airflow (PROFILE=demo-text; ARGS="--force --epochs 3 --rank 8 --dry-run")
	@.venv/bin/nightshift doctor
	@$(LOCAL) nightly $(ARGS)

up: setup ## start Airflow and MLflow on this machine (loopback only)
	@$(LOCAL) up

down: ## stop what `make up` started
	@$(LOCAL) down

serve: setup ## answer users on this machine (loopback, port 8000; ARGS="--set gateway.port=8001")
	@$(WORK) -m gateway $(ARGS)

demo: setup ## everything in minutes: users, a night, a staged rollout, and a bad adapter that is caught
	@$(WORK) -m deploy.local.demo "$(NIGHTSHIFT_HOME)/demo"

status: setup ## show the last nights, their decisions and the live adapter
	@.venv/bin/nightshift status

verify: setup ## check every recorded file, signature and the ledger's chain
	@.venv/bin/nightshift verify

test: .venv/.test-ready .venv-airflow/.test-ready .servers/.ready .venv-checkov/.ready .crds/.ready ## run all tests, fast ones first
	@$(WORK) -m pytest -q $(SPREAD) tests/unit tests/contract
	@$(CONTROL) -m pytest -q -n 4 --dist worksteal tests/dags
	@env --unset=KUBECONFIG $(CONTROL) -m pytest -q $(WAITING) tests/kubernetes
	@$(WORK) -m pytest -q $(WAITING) tests/integration -m "not airflow and not vllm and not chaos"
	@tests/support/chromium.sh
	@$(CONTROL) -m pytest -q $(BY_FILE) tests/integration/test_airflow_*.py tests/browser

test-vllm: .venv/.test-ready .venv-vllm/.ready ## test the gateway against a real vLLM server (an environment of 3 GB)
	@$(WORK) -m pytest -q tests/integration/test_gateway_vllm.py tests/integration/test_gateway_vllm_probes.py

test-gpu: .venv/.test-ready ## test training on a CUDA GPU (without one, each test says that it was skipped)
	@$(WORK) -m pytest -q -rs tests/gpu

test-kubernetes: .venv-airflow/.test-ready ## test against the double of the Kubernetes API; with KUBECONFIG against a real cluster
	@$(CONTROL) -m pytest -q -rs tests/kubernetes

chaos: .venv/.test-ready .venv-airflow/.test-ready ## take parts of a cluster away during nights and a rollout (OUTAGE_S=30 KILLS=100); prints tables
	@NIGHTSHIFT_OUTAGE_S=$(or $(OUTAGE_S),30) $(WORK) -m pytest -q -p no:xdist -m chaos \
		tests/integration/test_chaos.py tests/integration/test_chaos_rollout.py tests/integration/test_chaos_scheduler.py
	@NIGHTSHIFT_CHAOS_KILLS=$(or $(KILLS),100) $(CONTROL) -m pytest -q -p no:xdist -m chaos tests/integration/test_chaos_pods.py

fuzz: .venv/.test-ready ## try 20,000 made-up inputs where CI tries hundreds
	@NIGHTSHIFT_FUZZ_EXAMPLES=20000 $(WORK) -m pytest -v -o timeout=0 -m "fuzz or hypothesis" tests/unit tests/contract tests/integration

images: ## build the images, and their bills of materials in dist/ (TORCH_BACKEND=cu128 for GPUs)
	@deploy/images/build.sh

compose-up: images ## start everything in containers, as a cluster on one machine; prints the addresses
	@$(PYTHON) deploy/compose/make_secrets.py deploy/compose/secrets
	@$(COMPOSE) up --detach --wait --remove-orphans
	@deploy/compose/addresses.sh

compose-night: ## run the next night in what `make compose-up` started
	@$(COMPOSE) exec --no-TTY scheduler /opt/airflow/bin/python deploy/compose/night.py $(NIGHT)

compose-down: ## stop what `make compose-up` started; its volumes stay
	@$(COMPOSE) --profile gpu down

test-compose: ## build images, start everything in containers, run a night, end (about an hour on two cores)
	@tests/compose/run.sh

test-fast: .venv/.test-ready .venv-airflow/.test-ready ## run the tests that need no models and no servers
	@$(WORK) -m pytest -q $(SPREAD) tests/unit tests/contract -m "not slow"
	@$(CONTROL) -m pytest -q $(SPREAD) tests/dags -m "not slow"

check: .venv/.test-ready .venv-airflow/.ready ## check format, lint, types, imports and generated pages, as CI does before the tests
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy & status=0; \
	  .venv/bin/mypy --python-executable $(CONTROL) --cache-dir .mypy_cache/control dags plugins/nightshift || status=$$?; \
	  wait $$! || status=$$?; exit $$status
	@PYTHONPATH=.:plugins .venv/bin/lint-imports --cache-dir .mypy_cache/imports
	@$(WORK) docs/generate.py --check

arrows: .venv/.test-ready ## print which folder imports which, and circles between them
	@PYTHONPATH=.:plugins $(WORK) docs/arrows.py

docs: .venv/.ready ## generate the pages in docs/dags
	@$(WORK) docs/generate.py

interface: .venv/.ready ## write docs/openapi.json, at a release: later changes must not break its clients
	@PYTHONPATH=. $(WORK) docs/interface.py

format: .venv/.test-ready ## format the code and fix what the linter can
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

bench: setup ## measure this machine; prints tables
	@for name in dag_parse million_rows decisions waiting histories learned drift watch rollouts missing_labels forgetting fairness instructions planted_feedback judges rollout_influence safety alerts ledger page engines gateway cluster moves nightly; do echo "== $$name"; $(WORK) -m benchmarks.$$name; done

lock: $(UV) ## resolve requirements/*.in again
	@cd requirements && for name in pipelines airflow sbom checkov; do ../$(UV) pip compile -q --upgrade --python-version 3.11 \
	  --no-header --no-emit-index-url --no-emit-find-links $$name.in -o $$name.txt; done
	@cd requirements && for pair in dev:pipelines airflow-dev:airflow gateway:pipelines; do ../$(UV) pip compile -q --upgrade \
	  --python-version 3.11 --no-header --no-emit-index-url --no-emit-find-links \
	  -c $${pair#*:}.txt $${pair%:*}.in -o $${pair%:*}.txt; done
	@cd requirements && ../$(UV) pip compile -q --upgrade --python-version 3.11 --no-header --no-emit-index-url \
	  --no-emit-find-links $(NOT_FOR_TEXT:%=--no-emit-package %) vllm.in -o vllm.txt
	@sed -i 's/^\(torch==[0-9.]*\)+cpu/\1/' requirements/pipelines.txt requirements/gateway.txt requirements/vllm.txt

clean: ## remove all state (keeps the environments)
	@test -e "$(PREPARED)" -o -e "$(NIGHTSHIFT_HOME)/ledger.db" || \
	  { echo "There is nothing to remove in $(NIGHTSHIFT_HOME)."; exit 1; }
	@$(MAKE) down
	rm -rf "$(NIGHTSHIFT_HOME)"

$(UV): requirements/uv.txt
	@command -v $(PYTHON) > /dev/null || { echo "Nightshift needs Python 3.11; there is no $(PYTHON) here."; exit 1; }
	@$(PYTHON) deploy/local/preflight.py
	@$(PYTHON) -m venv .uv
	@.uv/bin/python -m pip install -qq --disable-pip-version-check -r requirements/uv.txt
	@touch $(UV)

.venv/.ready: requirements/pipelines.txt requirements/sample.txt pyproject.toml | $(UV)
	@echo "installing the work environment ..."
	@$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv
	@$(INSTALL) $(WORK) -r requirements/pipelines.txt
	@$(INSTALL) $(WORK) --no-deps -r requirements/sample.txt
	@$(INSTALL) $(WORK) --no-deps -e .
	@touch $@

.venv-airflow/.ready: requirements/airflow.txt | $(UV)
	@echo "installing the control environment (Airflow) ..."
	@$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv-airflow
	@$(INSTALL) $(CONTROL) -r requirements/airflow.txt
	@touch $@

.venv/.test-ready: requirements/dev.txt .venv/.ready
	@$(INSTALL) $(WORK) -r requirements/dev.txt
	@touch $@

.venv-airflow/.test-ready: requirements/airflow-dev.txt .venv-airflow/.ready
	@$(INSTALL) $(CONTROL) -r requirements/airflow-dev.txt
	@touch $@

.servers/.ready: tests/support/servers.sh
	@tests/support/servers.sh

.venv-vllm/.ready: requirements/vllm.txt | $(UV)
	@echo "installing vLLM (3 GB) ..."
	@$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv-vllm
	@$(INSTALL) .venv-vllm/bin/python --no-deps -r requirements/vllm.txt
	@touch $@

.venv-checkov/.ready: requirements/checkov.txt | $(UV)
	@echo "installing checkov, which scans the manifests of deploy/kubernetes ..."
	@$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv-checkov
	@$(INSTALL) .venv-checkov/bin/python -r requirements/checkov.txt
	@touch $@

.crds/.ready: tests/support/crds/package.json | .venv/.test-ready
	@mkdir -p .crds && cp $< .crds/
	@cd .crds && PATH="$(CURDIR)/.venv/bin:$$PATH" npm install --silent --no-audit --no-fund --no-package-lock --ignore-scripts
	@touch $@

$(PREPARED): .venv/.ready .venv-airflow/.ready
	@.venv/bin/nightshift prepare
	@$(LOCAL) setup
	@touch $@
