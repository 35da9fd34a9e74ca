# Two commands for a newcomer: `make demo` and `make test`. Both make their own environment.
# `make test TESTS=tests/test_parity.py` runs some of the tests; JOBS=1 all of them one after another.
# `make demo TORCH=cpu` takes the small build of torch, from PyTorch's own index.
MAKE_ENVIRONMENT := tools/make_environment.py
# the first Python of some that setup.cfg allows; without one, make_environment.py says what is missing
first_python = $(shell for python in $(1); do $$python $(MAKE_ENVIRONMENT) 2>/dev/null && echo $$python && break; done)
# Python 3.N: on the PATH, or of pyenv
of_version = python3.$(1) $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/3.$(1).*/bin/python3)
VERSIONS := 14 13 12 11 10
PYTHON ?= $(or $(call first_python,python3 $(addprefix python3.,$(VERSIONS))),python3)
NEWEST_PYTHON ?= $(or $(call first_python,$(foreach minor,$(VERSIONS),$(call of_version,$(minor)))),$(PYTHON))
OLDEST_PYTHON ?= $(or $(call first_python,$(call of_version,10)),$(PYTHON))
VENV ?= .venv
BIN := $(VENV)/bin
ONEDL_VENV ?= .venv-onedl
ONEDL_BIN := $(ONEDL_VENV)/bin
OLDEST_VENV ?= .venv-oldest
OLDEST_BIN := $(OLDEST_VENV)/bin
JOBS ?= 2
PYTEST := pytest --numprocesses $(JOBS) --dist worksteal
# what has differed between versions: files read and written, warnings, runs, commands, numbers
STACK_TESTS := $(addprefix tests/,test_stack_check.py test_import_effects.py \
	test_checkpoint_file.py test_parity.py test_inferencer.py test_wheel.py test_functional/test_sinkhorn.py \
	test_engine/test_checkpoints.py test_engine/test_exact_resume.py test_export.py \
	test_tools/test_train_and_test.py)

.PHONY: demo compare test test-onedl test-oldest test-stacks test-onedl-short test-oldest-short coverage mutants docs lint clean

demo: $(VENV)/standalone.done
	$(BIN)/sotglp demo

# methods side by side, some 20 minutes on two cores
compare: $(VENV)/standalone.done
	$(BIN)/python tools/studies/compare.py

# one thread each, or the processes get into each other's way
test test-onedl test-oldest coverage mutants: export OMP_NUM_THREADS ?= 1

test: $(VENV)/test.done lint
	$(BIN)/python -m $(PYTEST) $(TESTS)

lint: $(VENV)/test.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

# all tests, and which lines of the package they run, those of other processes too
coverage: $(VENV)/test.done
	$(BIN)/coverage erase
	$(BIN)/coverage run -m $(PYTEST) $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# mutmut's changes of functional/, and which of them no test notices; minutes
mutants: $(VENV)/test.done
	$(BIN)/mutmut run --max-children $(JOBS)
	$(BIN)/mutmut results

# guides and API reference, in docs/_build; any warning is an error
docs: $(VENV)/test.done
	$(BIN)/python -m sphinx --fail-on-warning --keep-going -b html docs docs/_build

# Environments. A Python that has gone, with an upgrade of the system, makes one outdated.
PACKAGING := setup.cfg setup.py pyproject.toml $(MAKE_ENVIRONMENT)
make_environment = @command -v $(1) >/dev/null || { echo '$(1) is missing: `apt install python3 python3-venv` \
	(Debian, Ubuntu) or `dnf install python3` (Fedora)' >&2; exit 1; }; \
	$(1) $(MAKE_ENVIRONMENT) $(addprefix --torch ,$(TORCH))

$(VENV)/standalone.done: $(PACKAGING) $(BIN)/python
	$(call make_environment,$(PYTHON)) $(VENV) --done standalone \
		--pip "install --editable '.[standalone]'"

$(VENV)/test.done: $(PACKAGING) $(BIN)/python
	$(call make_environment,$(PYTHON)) $(VENV) --done standalone test \
		--pip "install --editable '.[standalone,test,lint]'" --pip 'install --no-deps --requirement tests/mim.txt'

# The same tests on the maintained forks of MMEngine, MMPretrain and MMCV and the newest Python.
test-onedl: $(ONEDL_VENV)/test.done
	$(ONEDL_BIN)/python -m $(PYTEST) $(TESTS)

$(ONEDL_VENV)/test.done: $(PACKAGING) $(ONEDL_BIN)/python
	$(call make_environment,$(NEWEST_PYTHON)) $(ONEDL_VENV) --done test \
		--pip "install --editable '.[standalone,test]'" \
		--pip 'uninstall --yes mmengine mmpretrain mmcv-lite' \
		--pip 'install onedl-mmengine onedl-mmpretrain onedl-mmcv' --pip 'install --no-deps onedl-mim'

# The same tests on the oldest versions that setup.cfg allows, and the oldest Python.
test-oldest: $(OLDEST_VENV)/test.done
	$(OLDEST_BIN)/python -m $(PYTEST) $(TESTS)

$(OLDEST_VENV)/test.done: $(PACKAGING) tests/oldest_stack.txt $(OLDEST_BIN)/python
	$(call make_environment,$(OLDEST_PYTHON)) $(OLDEST_VENV) --done test \
		--pip "install --constraint tests/oldest_stack.txt --editable '.[standalone,test]'" \
		--pip 'install --no-deps --requirement tests/mim.txt'

%/bin/python: ;

# A short form of the two, which CI runs.
test-stacks: test-onedl-short test-oldest-short
test-onedl-short test-oldest-short: test-%-short:
	$(MAKE) test-$* TESTS='$(STACK_TESTS)'

clean:
	rm -rf $(VENV) $(ONEDL_VENV) $(OLDEST_VENV) sotglp_mm/.mim mutants docs/_build build dist *.egg-info
