# Everything a fresh machine needs, and nothing it does not: Python 3.11+, a C compiler is not needed.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: install servers demo test test-slow lint bench lock schemas clean

install: $(STAMP)  ## make .venv with everything; .venv/bin/afterstay works after it

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Afterstay needs Python 3.11 or later: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)'; exit 1; }
	$(PYTHON) -m venv .venv || { apt-get update && apt-get install -y python3-venv && $(PYTHON) -m venv --clear .venv; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: install  ## the main job on this machine: simulated hospitals, a listener, a worklist
	$(BIN)/afterstay demo

servers:  ## what the tests need beside Python and a fresh machine lacks: PostgreSQL 15, Java, Kafka's jars
	.ci/install-servers

test: install servers  ## all tests but the long campaigns
	$(BIN)/python -m pytest -m 'not slow'

test-slow: install servers  ## the long campaigns
	$(BIN)/python -m pytest -m slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m schemas.export --check

bench: install  ## what a message costs, side by side with python-hl7: under four minutes
	$(BIN)/python -m tests.benchmarks

schemas: install  ## write the JSON Schema from the types
	$(BIN)/python -m schemas.export

lock: install  ## resolve again; the lock names hashes and no addresses
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --generate-hashes --universal --no-emit-index-url --no-strip-extras \
		--python-version 3.11 --custom-compile-command 'make lock' --upgrade -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --constraint requirements.lock --generate-hashes --universal --no-emit-index-url \
		--no-strip-extras --python-version 3.11 --custom-compile-command 'make lock' -o deploy/requirements.lock

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
