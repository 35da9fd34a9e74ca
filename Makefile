# Two commands for a newcomer: `make demo` and `make test`. Both make their own environment.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo compare test lint clean

demo: $(VENV)/.standalone
	$(BIN)/python tools/demo.py

# methods side by side, some 20 minutes on two cores
compare: $(VENV)/.standalone
	$(BIN)/python tools/compare.py

test: $(VENV)/.test lint
	$(BIN)/python -m pytest

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

$(VENV)/.standalone: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[standalone]'
	touch $@

$(VENV)/.test: $(VENV)/.standalone
	$(BIN)/python -m pip install --quiet --editable '.[standalone,test]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
