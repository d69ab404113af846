# make demo    fit, click, edit and export the bundled scene into outputs/demo
# make test    every test on the backends of FF_BACKENDS (default: reference,cpu)
# make check   formatting, lint, types
# make docs    the documentation, into outputs/docs; a warning is an error
# make bench   the benchmark suite
# make clean   removes what building and testing left behind (not .venv, not outputs)
#
# The first call makes .venv and installs into it. PYTHON=/path/to/python chooses the interpreter.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# constraints.txt is a known-good set for these versions of Python
SUITABLE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(firstword $(foreach name,python3 python3.11 python3.12,$(shell $(name) -c '$(SUITABLE)' 2>/dev/null && echo $(name))))

.DELETE_ON_ERROR:
.PHONY: demo test check docs bench clean

demo: $(VENV)/.core
	$(BIN)/ff demo --output outputs/demo --overwrite

test: $(VENV)/.dev
	$(BIN)/python -m pytest

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

docs: $(VENV)/.dev
	$(BIN)/python -m sphinx -W --keep-going -b html docs outputs/docs

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or 3.12 with venv found; install one (Debian: apt-get install python3 python3-venv) or pass PYTHON=/path/to/python" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch $@
