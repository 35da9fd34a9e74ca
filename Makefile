# Two commands for a newcomer: `make demo` and `make test`. Both make their own environment.
# `make test TESTS=tests/test_parity.py` runs some of the tests; JOBS=1 all of them one after another.
# the first that MMEngine can live with; where there is none, the rule below says what is missing
SUPPORTED := (3, 10) <= sys.version_info < (3, 12)
FOUND := $(shell for python in python3 python3.11 python3.10; do \
	$$python -c 'import sys; sys.exit(not $(SUPPORTED))' 2>/dev/null && echo $$python && break; done)
PYTHON ?= $(or $(FOUND),python3)
VENV ?= .venv
BIN := $(VENV)/bin
ONEDL_VENV ?= .venv-onedl
ONEDL_BIN := $(ONEDL_VENV)/bin
# the oldest one, where there is one
OLDEST_PYTHON ?= $(shell python3.10 -c '' 2>/dev/null && echo python3.10 || echo $(PYTHON))
OLDEST_VENV ?= .venv-oldest
OLDEST_BIN := $(OLDEST_VENV)/bin
JOBS ?= 2
PYTEST := pytest --numprocesses $(JOBS) --dist worksteal
# what has differed between versions: files read and written, warnings, runs, commands, numbers
STACK_TESTS := $(addprefix tests/,test_stack_check.py test_quiet_import.py test_safe_loading.py \
	test_checkpoint_file.py test_parity.py test_inferencer.py test_wheel.py test_functional/test_sinkhorn.py \
	test_engine/test_plain_checkpoint_hook.py test_engine/test_resumed_validation_hook.py \
	test_tools/test_train_and_test.py)

.PHONY: demo compare test test-onedl test-oldest test-stacks coverage docs lint clean

demo: $(VENV)/.standalone
	$(BIN)/python tools/demo.py

# methods side by side, some 20 minutes on two cores
compare: $(VENV)/.standalone
	$(BIN)/python tools/studies/compare.py

# one thread each, or the processes get into each other's way
test test-onedl test-oldest coverage: export OMP_NUM_THREADS ?= 1

test: $(VENV)/.test lint
	$(BIN)/python -m $(PYTEST) $(TESTS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# all tests, and which lines of the package they run, those of other processes too
coverage: $(VENV)/.test
	$(BIN)/coverage erase
	$(BIN)/coverage run -m $(PYTEST) $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# guides and API reference, in docs/_build; any warning is an error
docs: $(VENV)/.test
	$(BIN)/python -m sphinx --fail-on-warning --keep-going -b html docs docs/_build

$(VENV)/.standalone: setup.cfg setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; $(SUPPORTED) or sys.exit("$(PYTHON) is Python %d.%d, expected 3.10 or \
	3.11: make PYTHON=python3.11" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[standalone]'
	touch $@

$(VENV)/.test: $(VENV)/.standalone
	$(BIN)/python -m pip install --quiet --editable '.[standalone,test]'
	$(BIN)/python -m pip install --quiet --no-deps openmim
	touch $@

# MIM comes by --no-deps everywhere: its downloader, which nothing here uses, asks for old setuptools and tqdm.

# The same tests on the maintained forks of MMEngine and MMPretrain, in an environment of their own:
# they write the same files as the originals. So --no-deps, where a package asks for an original.
test-onedl: $(ONEDL_VENV)/.test
	$(ONEDL_BIN)/python -m $(PYTEST) $(TESTS)

$(ONEDL_VENV)/.test: setup.cfg setup.py pyproject.toml tests/onedl_stack.txt
	$(PYTHON) -m venv $(ONEDL_VENV)
	$(ONEDL_BIN)/python -m pip install --quiet --upgrade pip 'setuptools<81'
	$(ONEDL_BIN)/python -m pip install --quiet --requirement tests/onedl_stack.txt
	$(ONEDL_BIN)/python -m pip install --quiet --no-deps 'mmcv-lite>=2.2.0,<2.4' onedl-mim --editable .
	touch $@

# The same tests on the oldest versions that setup.cfg allows, and the oldest Python.
test-oldest: $(OLDEST_VENV)/.test
	$(OLDEST_BIN)/python -m $(PYTEST) $(TESTS)

$(OLDEST_VENV)/.test: setup.cfg setup.py pyproject.toml tests/oldest_stack.txt
	$(OLDEST_PYTHON) -m venv $(OLDEST_VENV)
	$(OLDEST_BIN)/python -m pip install --quiet --requirement tests/oldest_stack.txt
	$(OLDEST_BIN)/python -m pip install --quiet --constraint tests/oldest_stack.txt --editable '.[standalone,test]'
	$(OLDEST_BIN)/python -m pip install --quiet --no-deps openmim
	touch $@

# The short form of the two, which CI runs.
test-stacks:
	$(MAKE) test-onedl TESTS='$(STACK_TESTS)'
	$(MAKE) test-oldest TESTS='$(STACK_TESTS)'

clean:
	rm -rf $(VENV) $(ONEDL_VENV) $(OLDEST_VENV) sotglp_mm/.mim docs/_build build dist *.egg-info
