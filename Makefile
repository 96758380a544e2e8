# make run    set up and open the sample project in the browser
# make check  set up for development and run every check
# make check-slow  the checks that take minutes
# make bench-wsol     train every localizer on made-up photos and redo the tables of the paper
# make bench-suggest  SAM's gallery against the published generator, on photo sets in COCO layout
# make bench-noise    detectors on made-up photos some of whose labels are wrong
# make bench-effort   a simulated annotator, with and without the loop
.PHONY: run check check-slow format test clean bench-wsol bench-suggest bench-noise bench-effort

PYTHON ?= python3
BIN := .venv/bin
# Several processes with a thread each: threads that share a core wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile

run: .venv/installed
	$(BIN)/annotator sample sample-project
	$(BIN)/python app.py sample-project

check: .venv/installed-for-tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST)

check-slow: .venv/installed-for-tests
	$(BIN)/pytest -m slow

BENCH ?= bench
SETS ?= ../shared/data/pets_masks ../shared/data/birds10 ../shared/data/caltech_animals

bench-wsol: .venv/installed-for-tests
	$(BIN)/python -m benchmarks.wsol $(BENCH)/wsol

bench-suggest: .venv/installed-for-tests
	mkdir -p $(BENCH)
	$(BIN)/python -m benchmarks.suggest $(SETS) --json $(BENCH)/suggest.json

bench-noise: .venv/installed-for-tests
	$(BIN)/python -m benchmarks.noise $(BENCH)/noise --short --thresholds --json $(BENCH)/noise.json

EFFORT_SETS ?= ../shared/data/fork_scissors ../shared/data/birds10

bench-effort: .venv/installed-for-tests
	mkdir -p $(BENCH)
	$(BIN)/python -m benchmarks.effort $(EFFORT_SETS) --photos 60 --made-up 100 --json $(BENCH)/effort.json

format: .venv/installed-for-tests
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: .venv/installed-for-tests
	$(PYTEST)

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip

.venv/installed: setup.cfg pyproject.toml | .venv/bin/python
	$(BIN)/pip install --editable .
	touch $@

.venv/installed-for-tests: setup.cfg pyproject.toml | .venv/bin/python
	$(BIN)/pip install --editable '.[test]'
	touch $@ .venv/installed

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
