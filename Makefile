# Two commands: `make demo` (install, run, query, look) and `make test`. The others are for people who work on gridscribe.

PYTHON ?= python3
BIN := .venv/bin
RUN := $(BIN)/gridscribe

VIEWER := gridscribe/viewer
# The viewer is built where node is; all else works without it, and the page at / then says how to build it.
BUILT := $(if $(shell command -v npm),viewer)

.PHONY: help install viewer demo test lint types unit soak bench train-demo train-align train-documents clean

help:
	@echo "make demo        install, run the main job on generated scenes, query a pixel and a phrase, leave pictures in demo/"
	@echo "make viewer      build the page of \`gridscribe serve\` (needs node and npm; demo and test do it where these are)"
	@echo "make test        lint, type check and all tests"
	@echo "make soak        the long tests: random kills by the dozen, 32768-pixel images, 100,000 items"
	@echo "make bench       the benchmarks, each beside its peer or its limit"
	@echo "make train-demo  train the shipped segmentor again"
	@echo "make train-align train the shipped alignment model again"
	@echo "make train-documents  train the shipped document model again"

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[test]'
	touch $@

viewer: $(VIEWER)/dist/index.html

$(VIEWER)/dist/index.html: $(shell find $(VIEWER)/src) $(wildcard $(VIEWER)/*.*)
	cd $(VIEWER) && npm ci --silent && npm run --silent build

demo: install $(BUILT)
	rm -rf demo
	mkdir demo
	$(RUN) scenes demo/scenes --count 12 --seed 7
	tar -C demo/scenes -cf demo/scenes.tar .
	$(RUN) run raster --input demo/scenes.tar --output demo/out
	$(RUN) status demo/out
	$(RUN) at demo/out $$($(BIN)/python tests/demo_point.py demo/scenes)
	$(RUN) picture demo/out demo/picture.png
	$(RUN) match demo/out "swimming pool" --top-k 10 --picture demo/pools.png --geojson demo/pools.geojson
	$(BIN)/python tests/demo_matches.py demo/scenes demo/pools.geojson "swimming pool"
	$(RUN) pages demo/pages --count 12 --seed 7
	$(RUN) run documents --input demo/pages --output demo/documents
	$(RUN) match demo/documents "total" --top-k 5 --picture demo/page.png --json > demo/page.json
	$(BIN)/python tests/demo_page.py demo/pages demo/page.json "total"
	@echo "Look at demo/picture.png, demo/pools.png and demo/page.png; the masks are in demo/out/products/*/masks/, the catalogue in demo/out/catalog/. In a browser: $(RUN) serve demo/out"

test: lint types unit

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The top-level folders import as gridscribe.<folder>; the type checker is shown the tree as it imports, and the benchmarks,
# which nothing else runs.
types: install
	rm -rf build/typed
	mkdir -p build/typed/gridscribe
	for part in gridscribe/*; do ln -s ../../../$$part build/typed/gridscribe/; done
	for room in configs fusion ingest models pipelines workers; do ln -s ../../../$$room build/typed/gridscribe/; done
	ln -s ../../tests/bench build/typed/bench
	cd build/typed && ../../$(BIN)/mypy --config-file ../../pyproject.toml -p gridscribe -p bench

# Two at a time, a file to a worker: many tests wait for processes that they start.
unit: install $(BUILT)
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/pytest -m "not soak" -n 2 --dist loadfile --no-loadscope-reorder

soak: install
	$(BIN)/pytest -m soak --timeout 7200

bench: install
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python tests/bench/run_all.py

train-demo: install
	$(BIN)/python -m gridscribe.pipelines.train_demo

train-align: install
	$(BIN)/python -m gridscribe.pipelines.train_align

train-documents: install
	$(BIN)/python -m gridscribe.pipelines.train_documents

clean:
	rm -rf demo build work_dirs $(VIEWER)/dist $(VIEWER)/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis
