.DEFAULT_GOAL := help
.PHONY: help venv repro test test-services test-browser browser lint docs docs-serve code graph results lock mlflow airflow retrain train-gpu take-gpu benchmarks benchmarks-gpu clean

PYTHON ?= python3.11
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

help: ## what can be made
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(BIN)/.installed ## .venv with the locked versions and the project, editable

$(BIN)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes --no-deps -r requirements.lock
	$(BIN)/pip install --quiet --no-build-isolation --editable '.[torch]' # brings torch in the build at hand, and the libraries of a CUDA build
	@touch $@

repro: code ## run the pipeline on params.yaml and print the leaderboard
	ratewright repro
	@ratewright leaderboard

test: venv ## the tests, on both cores
	OMP_NUM_THREADS=1 pytest -n 2 --dist loadfile --no-loadscope-reorder --ignore=tests/services --ignore=tests/browser

test-services: venv ## the tests with Airflow, PostgreSQL, S3, MLflow and Ray running (apt install postgresql)
	pytest tests/services

test-browser: venv browser/node_modules ## the tests of the page for browsers, in Chromium (apt install nodejs npm chromium)
	pytest -s tests/browser

browser: browser/node_modules ## the page that opens .rw files, in browser/dist; CODEC=folder of `ratewright export` (Node 20)
	cd browser && npm run --silent check && npm test --silent && npm run --silent page
	cd browser && npm run --silent model -- $(abspath $(CODEC))

browser/node_modules: browser/package-lock.json browser/.npmrc
	cd browser && npm ci
	@touch $@

lint: venv ## format, lint, types, and the direction of imports
	ruff format --check .
	ruff check .
	mypy
	lint-imports
	python -m pipeline.schedule.code_hashes --check
	python -m pipeline.schedule.dvc_graph --check
	python -m pipeline.reporting.results_pages --check

docs: venv ## the documentation in site/, warnings are errors, nothing is loaded from other hosts
	python -m docs.build

docs-serve: venv ## the documentation at http://127.0.0.1:8000 until Ctrl-C
	python -m docs.build --pages
	zensical serve

code: venv ## code.json anew: the hash of the code that each stage runs
	python -m pipeline.schedule.code_hashes --write

graph: venv ## dags/stages.json anew from dvc.yaml, params.yaml and the profiles
	python -m pipeline.schedule.dvc_graph --write

results: venv ## the tables of README and the documentation, and the plots, anew from results/
	python -m pipeline.reporting.results_pages --write
	python -m docs.figures

lock: ## requirements.lock anew from pyproject.toml (needs uv, and a CPU build of torch in UV_FIND_LINKS)
	uv pip compile --quiet --upgrade --custom-compile-command "make lock" --no-annotate --generate-hashes \
		--python-version 3.11 --all-extras --no-emit-package torch pyproject.toml -o requirements.lock

mlflow: venv ## MLflow's pages on the runs and the registry, http://127.0.0.1:5000
	MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
	mlflow server --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port 5000

airflow: venv ## Airflow on this machine until Ctrl-C, http://127.0.0.1:8080
	@python -m pipeline.schedule.local_airflow up

retrain: venv ## start a retraining in it and follow it; ARGS="--profile real --variants wcae"
	@python -m pipeline.schedule.local_airflow retrain $(ARGS)

train-gpu: venv ## a training in one file for a machine with a GPU; ARGS="--profile flagship"
	python -m pipeline.portable.pack $(ARGS)

take-gpu: venv ## the weights that it left, as the output of its stage; ARGS=haar_hyper-trained
	python -m pipeline.portable.take $(ARGS)

benchmarks: venv ## the measurements, each as a ratio against a named peer
	for each in training loader range_coder lossless palettes startup scaling; do python -m benchmarks.$$each; done

benchmarks-gpu: venv ## those that need a GPU; ARGS="--compile --batch-size 64 --json gpu.json"
	python -m benchmarks.gpu $(ARGS)

clean: ## remove what the stages wrote; the DVC cache and the registry stay
	rm -rf data models evaluation report work leaderboard.json registry.json
