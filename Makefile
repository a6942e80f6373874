# Five commands for a fresh machine (Python 3.11 or newer, nothing else):
#   make demo    real services, a real PostgreSQL, a real ClickHouse engine: four incidents, found
#   make test    every test
#   make mutations  how many changed rules their own tests notice (MUTATIONS="--rule env_split" chooses)
#   make lab     every incident and every benign twin, played by real applications (LAB="--rule env_split" chooses)
#   make noise   healthy traffic of many services in which no rule may find anything (NOISE="--statements 20000000 --hours 24")
# VENV and PYTHON can be set: make test PYTHON=python3.13 VENV=.venv313

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

# $(call fill,environment,what): uv installs in a third of pip's time. An index that only pip's own settings know
# is nothing to uv: then pip does it.
comma := ,
fill = { $(1)/bin/pip install --quiet uv && \
  $(1)/bin/uv pip install --quiet --compile-bytecode --python $(1)/bin/python --constraint constraints.txt $(2); } || \
  $(1)/bin/pip install --quiet --constraint constraints.txt $(2)

# PYTEST_ARGS are passed on, and WORKERS says how many processes test: make test WORKERS=4 PYTEST_ARGS='-k transaction -x'

.PHONY: mutations demo lab noise test test-sqlalchemy20 lint types format docs install clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "trueline needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Say which: make PYTHON=python3.13 ..."; exit 2; }
	@echo "Installing into $(VENV) (about half a minute the first time) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(call fill,$(VENV),--editable '.[all]')
	@touch $@

demo: install
	@$(BIN)/trueline demo

lab: install
	@$(BIN)/python tests/scenarios $(LAB)

noise: install
	@$(BIN)/python tests/scenarios/noise $(NOISE)

mutations: install
	@$(BIN)/python tests/mutations $(MUTATIONS)

test: install
	@$(BIN)/pytest -n $(WORKERS) --dist loadfile $(PYTEST_ARGS)

# The first environment has the newest SQLAlchemy (2.1); the instrumentation's own tests run again on 2.0.
test-sqlalchemy20: $(VENV)-sqlalchemy20/.installed
	@$(VENV)-sqlalchemy20/bin/python -c 'import sqlalchemy as s; assert s.__version__.startswith("2.0."), s.__version__'
	@$(VENV)-sqlalchemy20/bin/pytest -n $(WORKERS) --dist loadfile -m 'sqlalchemy_matrix and not nightly'

# Hours: everything that is too long for a normal run, on both releases.
test-nightly: install $(VENV)-sqlalchemy20/.installed
	@$(BIN)/pytest -m nightly $(PYTEST_ARGS)
	@$(VENV)-sqlalchemy20/bin/pytest -m 'sqlalchemy_rest or (sqlalchemy_matrix and nightly)' $(PYTEST_ARGS)

$(VENV)-sqlalchemy20/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -m venv $(VENV)-sqlalchemy20
	@$(call fill,$(VENV)-sqlalchemy20,--editable '.[test]' 'sqlalchemy>=2.0.30$(comma)<2.1')
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
