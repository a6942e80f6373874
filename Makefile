# Two commands for a fresh machine (Python 3.11 or newer, nothing else):
#   make demo    real services, a real PostgreSQL, a real ClickHouse engine: four incidents, found
#   make test    every test
# VENV and PYTHON can be set: make test PYTHON=python3.13 VENV=.venv313

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

# PYTEST_ARGS are passed on, and WORKERS says how many processes test: make test WORKERS=4 PYTEST_ARGS='-k transaction -x'

.PHONY: demo test test-sqlalchemy20 lint types format docs install clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "trueline needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Say which: make PYTHON=python3.13 ..."; exit 2; }
	@echo "Installing into $(VENV) (about a minute the first time) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --editable '.[all]'
	@touch $@

demo: install
	@$(BIN)/trueline demo

test: install
	@$(BIN)/pytest -n $(WORKERS) --dist loadfile $(PYTEST_ARGS)

# The first environment has the newest SQLAlchemy (2.1); the instrumentation's own tests run again on 2.0.
test-sqlalchemy20: $(VENV)-sqlalchemy20/.installed
	@$(VENV)-sqlalchemy20/bin/python -c 'import sqlalchemy as s; assert s.__version__.startswith("2.0."), s.__version__'
	@$(VENV)-sqlalchemy20/bin/pytest -n $(WORKERS) --dist loadfile -m 'sqlalchemy_matrix and not nightly'

$(VENV)-sqlalchemy20/.installed: pyproject.toml
	@$(PYTHON) -m venv $(VENV)-sqlalchemy20
	@$(VENV)-sqlalchemy20/bin/pip install --quiet --editable '.[test]' 'sqlalchemy>=2.0.30,<2.1'
	@touch $@

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: install
	@$(BIN)/mypy

format: install
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .build dist
