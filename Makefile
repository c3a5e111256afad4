# make run: the whole chain on the embedded sample.   make test: all tests.   make lab: step through in JupyterLab.
# make app: the search page, on the sample; make app PROFILE=flickr8k on another run.
PYTHON ?= python3
PROFILE ?= sample
BIN := .venv/bin
INSTALLED := .venv/installed-requirements.txt

.PHONY: run test lint lab app bench clean

run: $(INSTALLED)
	$(BIN)/python run_all.py

test: $(INSTALLED)
	$(BIN)/python -m pytest

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/lint-imports --no-cache

lab: $(INSTALLED)
	$(BIN)/jupyter lab notebooks

app: $(INSTALLED)
	$(BIN)/python -m helpers.search.app --profile $(PROFILE)

# A quarter of an hour, after `make run`; the options are in tests/benchmarks/conftest.py.
bench: $(INSTALLED)
	$(BIN)/python -m pytest tests/benchmarks -o python_files='bench_*.py' -o python_functions='bench_*' \
		--benchmark-columns=median,min,max,rounds --benchmark-json=outputs/benchmarks.json $(BENCH)

clean:
	rm -rf .venv outputs data/sample

# The copy is written last: an install that was cut short is repeated.
$(INSTALLED): requirements.txt
	$(PYTHON) -c "import sys; sys.exit(0 if sys.version_info >= (3, 11) else 'Python 3.11 or newer is needed: make PYTHON=python3.11')"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	cp requirements.txt $@
