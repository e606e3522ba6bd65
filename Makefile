# On a machine that has only Python and make:
#   make demo     train, measure, search, cut out, export, and draw the trade-off
#   make test     run the tests; at its end, the ten slowest
#   make sweep    run all of them on all models, with many more examples: hours
#   make pages    run the pages of the documentation, and the notebooks, that take longer
#   make docs     build the documentation into docs/_build/html
# Each makes .venv where it is missing, and installs into it what it needs: the demo less than development.

PYTHON  ?= python3
WORKERS ?= 2
NOTEBOOKS ?= cache

BIN       := .venv/bin
INSTALLED := .venv/.installed-dev

.PHONY: demo test sweep pages check lint types bench docs clean

demo: $(or $(wildcard $(INSTALLED)),.venv/.installed-demo)    # what development needs is enough
	$(BIN)/elastic demo

# One thread to each worker: two on two cores never wait for each other.
test sweep pages: export OMP_NUM_THREADS = 1
test sweep pages: export MKL_NUM_THREADS = 1
PYTEST = $(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal --durations 10

test: $(INSTALLED)
	$(PYTEST) $(COVERAGE)

sweep: PART ?= all
sweep: $(INSTALLED)    # PART=3/16: one of sixteen parts of what `make test` leaves out
	$(PYTEST) --sweep=$(PART)

pages: $(INSTALLED)
	$(PYTEST) --sweep=all -m sweep tests/test_documents.py tests/test_notebooks.py

check: lint types test

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(INSTALLED)
	$(BIN)/mypy

bench: $(INSTALLED)
	$(BIN)/python tests/benchmarks/entrance.py
	PYTHONPATH=tests/helpers $(BIN)/python tests/benchmarks/mutants.py
	$(BIN)/pytest tests/benchmarks

docs: $(INSTALLED) .venv/.installed-docs    # NOTEBOOKS=off: without executing them
	$(BIN)/sphinx-build -W --keep-going -q -D nb_execution_mode=$(NOTEBOOKS) docs docs/_build/html

clean:    # .venv stays: what it took minutes to install is no build product
	rm -rf build dist docs/_build docs/generated *.egg-info .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

# The extras of pyproject.toml: demo, dev.
.venv/.installed-%: pyproject.toml
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable ".[$*]"
	touch $@
