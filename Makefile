# `make help` lists what there is to do.
PYTHON ?= python3
EXTRA ?=
KILLS ?= 20
SEED ?= $(shell $(PYTHON) -c 'import random; print(random.randrange(10**6))')
LOCK := requirements$(if $(EXTRA),-$(EXTRA)).lock
# The app has an environment of its own: Gradio wants an older Pillow than what the data are made with.
VENV := .venv$(if $(filter app,$(EXTRA)),-app)
READY := $(VENV)/ready$(if $(EXTRA),-$(EXTRA))
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: help setup repro test test-all test-app soak lint ui app docs latency compare bench bench-gpu report params advisories lock
.DEFAULT_GOAL := help

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1|\2/' | column -t -s '|'

setup: $(READY) ## create the environment in .venv (EXTRA=gpu: with CUDA; EXTRA=app: in .venv-app, for the app)

# An environment that was made elsewhere calls its old place by name, and perhaps that one's code.
ifneq ($(shell grep -s '^command = ' $(VENV)/pyvenv.cfg | grep -vF '$(CURDIR)/$(VENV)'),)
$(info $(VENV) was made in another folder and does not work here; it is made again when it is needed)
$(shell rm -f $(READY))
CLEAR := --clear
endif

$(READY): $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) or sys.exit("Python 3.11 to 3.13 is needed, this is " + sys.version)'
	@echo 'Making the environment in $(VENV): two to five minutes, and about 3 GB'
	@$(PYTHON) -m venv $(CLEAR) $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(VENV)/bin/python -m compileall -q -j 0 $(VENV)/lib || true  # some packages ship files for other Python versions
	@touch $@

repro: $(READY) ## rebuild everything: data, nets, metrics, report/index.html
	@cnnstudy repro

# Three on two cores: some tests wait for other processes. After a crash of one, xdist would wait for its tests for ever.
PYTEST := pytest -n 3 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

test: $(READY) ## run the tests, without the long ones
	$(PYTEST) -m "not slow"

test-all: $(READY) ## run all tests
	$(PYTEST)

test-app: ## run the tests of the app, in its own environment
	$(MAKE) setup EXTRA=app
	CNNSTUDY_NEEDS_APP=1 .venv-app/bin/pytest tests/app

soak: $(READY) ## kill a small rebuild again and again, and compare what comes out (KILLS=20 SEED=0)
	python tests/soak.py --kills $(KILLS) --seed $(SEED)

lint: $(READY) ## ruff and mypy
	ruff check . && ruff format --check . && mypy

ui: $(READY) ## browse every run in the MLflow UI
	cnnstudy ui

app: ## try a net in the browser (makes .venv-app the first time)
	$(MAKE) setup EXTRA=app
	.venv-app/bin/cnnstudy app

docs: .venv-docs/ready ## build the documentation in site/
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --quiet --strict && echo site/index.html

.venv-docs/ready: requirements-docs.lock
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

compare: $(READY) ## what differs between two commits (A=main~1 B=main); figures in compared/index.html
	cnnstudy compare $(A) $(B)

latency: $(READY) ## time the LiteRT files on this machine
	cnnstudy latency

bench: .venv-bench/ready ## how fast it is, against PyTorch too, and what it takes (an hour on two quiet cores)
	.venv-bench/bin/python -W ignore bench/all.py

bench-gpu: .venv-bench/ready ## the same for a GPU, in ten minutes
	.venv-bench/bin/python -W ignore bench/gpu.py

.venv-bench/ready: $(LOCK) pyproject.toml
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK)
	.venv-bench/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	.venv-bench/bin/pip install --quiet --disable-pip-version-check torch  # the newest: what it is measured against
	touch $@

report: $(READY) ## rebuild the report page
	dvc repro report && echo report/index.html

params: $(READY) ## rewrite params.yaml from conf/
	cnnstudy params

advisories: ## known holes in the locked packages (needs the network)
	$(PYTHON) -m venv $(VENV)/advisories
	$(VENV)/advisories/bin/pip install --quiet --disable-pip-version-check pip-audit
	$(VENV)/advisories/bin/pip-audit --requirement $(LOCK) --require-hashes --disable-pip

lock: ## rewrite the lock files (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --extra dev pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --extra dev --extra gpu pyproject.toml -o requirements-gpu.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --extra dev --extra app pyproject.toml -o requirements-app.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --group docs -o requirements-docs.lock
