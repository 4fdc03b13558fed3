# The developer's interface: `make demo`, `make check`, `make test`; each sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SETUP := $(VENV)/.set-up
LOCKED := deploy/requirements.txt
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo check test chaos bench format schemas lock audit clean help

help:
	@echo 'make demo    a census of the standard library as a dozen parallel runs'
	@echo 'make check   format, lint, types, layers, unit tests (the quick loop)'
	@echo 'make test    every test'
	@echo 'make chaos   tests of faults, crowds and random examples in their long form: an hour'
	@echo 'make bench   the benchmarks, as one table (ROW=name: one of them)'
	@echo 'make format  put the sources into shape'
	@echo 'make schemas write protocol/schemas and the state diagrams again'
	@echo 'make lock    write deploy/requirements.txt again, with the newest versions'
	@echo 'make audit   whether a version in there is known to be vulnerable'

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(SETUP): $(INSTALLED)
	$(PIP) --editable '.[dev]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/intendant run examples/quickstart.toml

check: $(SETUP)
	@$(BIN)/ruff format --check --quiet . && echo 'format  ok'
	@$(BIN)/ruff check --quiet . && echo 'lint    ok'
	@$(BIN)/mypy --no-error-summary && echo 'types   ok'
	@$(BIN)/lint-imports --no-cache > .imports.log || { cat .imports.log; exit 1; }
	@rm -f .imports.log; echo 'layers  ok'
	@$(BIN)/pytest -q tests/unit

test: $(SETUP)
	$(BIN)/python -m compileall -q src  # where nobody else may write bytecode, each process would compile
	$(BIN)/pytest -n logical --dist loadfile --no-loadscope-reorder

chaos: $(SETUP)
	$(BIN)/pytest --long --timeout 7200 tests/faults tests/unit \
	  $(addprefix tests/system/test_, crowd.py futures.py recovery.py shutdown.py)

bench: $(SETUP)
	$(BIN)/python -m benchmarks $(ROW)

format: $(SETUP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

schemas: $(SETUP)
	$(BIN)/python -m intendant.protocol.schemas

lock: $(SETUP)
	$(PIP) uv
	$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --upgrade \
	  --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' -o $(LOCKED)

audit: $(SETUP)
	$(PIP) pip-audit
	$(BIN)/pip-audit --strict --require-hashes --disable-pip -r $(LOCKED)

clean:
	rm -rf $(VENV) build dist src/*.egg-info
