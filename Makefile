# Parecido: run `make` for the list of targets.
PYTHON ?= python3
DATA ?= data
PORT ?= 8080
FUZZ_S ?= 600
BENCHMARKS ?= speed quality.transforms indexing.incremental_build serving.snapshot_swap serving.load
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
# Most of TensorFlow is never imported: what is, Python compiles by itself.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e
INDEXER := $(BIN)/python -m indexer
MILVUS_TESTS := $(patsubst %,tests/%/test_milvus.py,indexer search_service end_to_end) \
	tests/end_to_end/test_milvus_access.py
FAST_TESTS := tests/shared tests/indexer tests/search_service tests/test_import_rules.py tests/test_docs.py

.DEFAULT_GOAL := help
.PHONY: help setup dev demo test test-fast check unit index reindex serve evaluate verify rollback bench bench-scale chaos fuzz up down test-compose test-photos test-milvus test-ray
# To compose, CATALOGUE is a directory and CATALOGUE_FILE a list in it; `up` sees to it.
unexport CATALOGUE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make the virtual environment .venv with exact versions of what running needs
	@du -sh $(VENV)

dev: $(DEV_STAMP) ## what checks and tests need besides
	@du -sh $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) '.[indexer,parquet]'
	@touch $(STAMP)

$(DEV_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) '.[indexer,dev]'
	@touch $(STAMP) $(DEV_STAMP)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Parecido needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ...' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

demo: $(STAMP) ## render a sample catalogue, index it, search it over HTTP
	@$(BIN)/python -m examples.demo

test: check unit ## all checks and all tests

check: $(DEV_STAMP) ## style, types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# Each worker has a core: threads of BLAS and FAISS that wait for each other there cost more than they bring.
unit test-fast: export OMP_NUM_THREADS ?= 1
unit: $(DEV_STAMP) ## the tests alone
	$(BIN)/python -m pytest --numprocesses auto --no-loadscope-reorder $(ARGS)

test-fast: $(DEV_STAMP) ## of them those of single modules: no processes, no TensorFlow, no browser
	$(BIN)/python -m pytest --numprocesses auto --no-loadscope-reorder -m 'not slow' $(FAST_TESTS) $(ARGS)

index: $(STAMP) ## index CATALOGUE=path (one folder per category, or a CSV, JSON-lines or Parquet file) into DATA
	@test -n "$(CATALOGUE)" || { echo 'which catalogue? make index CATALOGUE=path [DATA=data]' >&2; exit 2; }
	$(INDEXER) build --catalogue "$(CATALOGUE)" --data "$(DATA)" $(ARGS)

reindex: $(STAMP) ## the same catalogue again, with the settings remembered in DATA
	$(INDEXER) build --data "$(DATA)" $(ARGS)

serve: $(STAMP) ## answer searches from DATA on PORT
	PARECIDO_DATA="$(DATA)" PARECIDO_PORT="$(PORT)" \
		PARECIDO_LOG_FORMAT="$${PARECIDO_LOG_FORMAT:-text}" $(BIN)/python -m search_service

evaluate: $(STAMP) ## evaluate DATA on QUERIES=path, labelled photos that are not in the catalogue
	@test -n "$(QUERIES)" || { echo 'which photos? make evaluate QUERIES=path [DATA=data]' >&2; exit 2; }
	$(INDEXER) evaluate --data "$(DATA)" --queries "$(QUERIES)" --report "$(DATA)/evaluation" $(ARGS)

verify: $(STAMP) ## check the published snapshot in DATA
	$(INDEXER) verify --data "$(DATA)"

rollback: $(STAMP) ## publish the snapshot before the current one again
	$(INDEXER) rollback --data "$(DATA)" $(ARGS)

bench: $(DEV_STAMP) ## the benchmarks, small (BENCHMARKS=serving.load for fewer); see docs/reference/benchmarks.md for the full ones
	set -e; for one in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$one --smoke; done
	$(BIN)/python -m benchmarks.ann.scale --smoke --peers hnswlib,parecido

bench-scale: $(DEV_STAMP) ## Parecido and other vector libraries and databases, 100,000 vectors (ARGS='--size 1000000')
	$(BIN)/python -m benchmarks.ann.scale $(ARGS)

chaos: $(DEV_STAMP) ## kill 200 builds at random moments and check what is left
	$(BIN)/python -m benchmarks.chaos.kill_builds $(ARGS)

fuzz: $(DEV_STAMP) ## decode mutated images for FUZZ_S=600 seconds in processes that may die, and as long in one; a find ends it
	$(BIN)/python tests/fuzz/decode_pool.py $(FUZZ_S)
	mkdir -p fuzz && cd fuzz && ../$(BIN)/python ../tests/fuzz/decoding.py corpus -max_total_time=$(FUZZ_S) $(ARGS)

up: ## in containers: index CATALOGUE=path (default: a sample) into a volume, serve it on PORT
	@set -e; if [ -n "$(CATALOGUE)" ]; then \
		test -e "$(CATALOGUE)" || { echo 'there is no $(CATALOGUE)' >&2; exit 2; }; \
		if [ -d "$(CATALOGUE)" ]; then folder="$(CATALOGUE)"; file=; \
		else folder=$$(dirname "$(CATALOGUE)"); file=$$(basename "$(CATALOGUE)"); fi; \
		{ grep -sv '^CATALOGUE' .env || true; \
		echo "CATALOGUE='$$(cd "$$folder" && pwd)'"; echo "CATALOGUE_FILE='$$file'"; } > .env.new; mv .env.new .env; fi
	docker compose build
	docker compose run --rm indexer  # before the service is touched: what runs serves on, also where this fails
	docker compose up --detach --wait --no-deps search

down: ## stop the containers; the volumes stay
	docker compose down

test-compose: $(DEV_STAMP) ## build the containers and run them for real; skipped where there is no Docker engine
	$(BIN)/python -m pytest -m docker tests/compose $(ARGS)

# Milvus Lite comes before what loads FAISS and LiteRT into the same process.
test-photos: $(DEV_STAMP) ## quality on real photos (PHOTOS=dir), and all tests of Milvus; skipped where either is missing
	$(BIN)/python -m pytest --numprocesses auto --no-loadscope-reorder -m 'clothing or milvus' \
		$(MILVUS_TESTS) tests/shared tests/end_to_end/test_clothing.py tests/end_to_end/test_one_search.py $(ARGS)

test-milvus: $(DEV_STAMP) ## search PHOTOS=dir in Milvus Lite and in a server that MILVUS_LAUNCHER=file starts, and kill it
	$(BIN)/python -m pytest -m milvus $(MILVUS_TESTS) $(ARGS)

test-ray: $(DEV_STAMP) ## embed on a cluster of two nodes here, and kill them; check deploy/kubernetes; installs ray
	$(INSTALL) '.[indexer,dev,cluster-tests]'
	$(BIN)/python -m pytest -m ray tests/cluster $(ARGS)
