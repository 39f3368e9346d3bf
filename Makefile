# make quickstart   synthetic people -> train -> evaluate -> pictures in work_dirs/quickstart
# make quickstart-full   the same without the weights that come with mmhier, in work_dirs/quickstart_full
# make test         the test suite;  make test-slow  what takes minutes;  make lint  style checks
# make docs         the documentation as a site in site/, from docs/ and the docstrings
# Another interpreter: make PYTHON=/path/to/python3.12 ...   Any goal makes .venv first, if it has to.
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
RUN := .venv/bin/python

.PHONY: quickstart quickstart-full test test-slow lint docs env

quickstart: env
	@$(RUN) tools/quickstart.py

quickstart-full: env
	@$(RUN) tools/quickstart.py --from-scratch --out work_dirs/quickstart_full

test: env
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -q -n logical --maxprocesses 4

test-slow: env
	@$(RUN) -m pytest -q -m slow

lint: env
	@$(RUN) -m ruff check . && $(RUN) -m ruff format --check .

docs: env
	@$(RUN) -m mkdocs build --strict

env:
	@command -v "$(PYTHON)" >/dev/null || { echo "mmhier set-up: no Python found; install Python 3.11, or say make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" tools/bootstrap.py
