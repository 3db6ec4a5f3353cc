# make demo and make test do all the set-up there is. Another Python: make test PYTHON=/path/to/python3.12
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
PYTHON := $(shell for p in python3.11 python3.12 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null \
	&& { echo $$p; break; }; done)
export OMP_NUM_THREADS = 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help venv demo test test-slurm lint bench clean

help:
	@echo "make demo    a small experiment from configuration to figures"
	@echo "make test    lint and all tests"
	@echo "make test-slurm   tests on a SLURM of this machine's own (as root; installs it with apt-get)"
	@echo "make lint    ruff and mypy"
	@echo "make bench   speed, beside plain PyTorch loops"
	@echo "make venv    $(VENV) with the exact versions of constraints.txt"
	@echo "make clean   remove $(VENV) and caches; runs stay"

venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 with venv was not found: install it (Debian, Ubuntu:" \
		"apt-get install python3.11-venv), or name one: make PYTHON=/path/to/python" >&2; exit 1; }
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)
	$(PY) -m lop_lightning.demo

test: lint
	$(PY) -m pytest -n 2

# Its daemons run as root and end with the tests. Where SLURM cannot be installed, the tests say so and are skipped.
test-slurm: $(STAMP)
	@command -v slurmctld >/dev/null || { test "$$(id -u)" -eq 0 && command -v apt-get >/dev/null \
		&& apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
		slurmctld slurmd slurm-client munge >/dev/null; } || echo "SLURM is not here and was not installed" >&2
	$(PY) -m pytest -m slurm tests/slurm -rs

lint: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy -p lop_lightning -p benchmarks

bench: $(STAMP)
	$(PY) -m benchmarks.main

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
