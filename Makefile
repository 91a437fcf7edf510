# One target for each thing to do; `make` alone says which.
#
# Needs Python 3.11 or newer with venv, and nothing else: everything is installed into .venv, in the
# versions of constraints.txt. On Linux, PyPI's torch brings gigabytes of CUDA; the CPU build suffices:
#     make test PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu

BIN := .venv/bin
STAMP := .venv/.installed
PIP := $(BIN)/pip --quiet --disable-pip-version-check install --constraint constraints.txt
USABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3.11 python3 python3.13 python3.12; do \
	$$python -c '$(USABLE)' 2>/dev/null && echo $$python && break; done)

.PHONY: help demo policy test check bench clean

help:
	@echo "make demo    split training on this machine: classic FL, then the controller, and a report"
	@echo "make policy  train the policy that ships, freeze it and put it into adaptoff/data"
	@echo "make test    lint, types and tests"
	@echo "make check   lint and types"
	@echo "make bench   what is timed; figures are this machine's"
	@echo "make clean   remove .venv and all that was built"

demo: $(STAMP)
	$(BIN)/adaptoff demo

# The same versions on the same machine give the same bytes. To try something else:
#     make policy TRAIN='--set entropy=0.01' RUN=runs/entropy POLICY=runs/entropy/policy.safetensors
RUN ?= runs/policy
POLICY ?= adaptoff/data/policy.safetensors
policy: export OMP_NUM_THREADS = 1
policy: $(STAMP)
	$(BIN)/adaptoff train --seed 0 $(TRAIN) --out $(RUN)
	$(BIN)/adaptoff freeze $(RUN)/last.safetensors --out $(POLICY)

test: export OMP_NUM_THREADS = 1
test: check
	$(BIN)/python -m pytest -q

check: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy -p adaptoff

# benchmarks/links.py needs traces: its docstring says how to run it.
bench: export OMP_NUM_THREADS = 1
bench: $(STAMP)
	@set -e; for file in $(filter-out %/links.py,$(wildcard benchmarks/*.py)); do \
		echo "== $$file"; $(BIN)/python $$file; done

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "make: needs Python 3.11 or newer with venv," \
		"such as: apt install python3.11 python3.11-venv" >&2; exit 1; }
	@echo "making .venv with $(PYTHON)"
	@$(PYTHON) -m venv .venv
	@echo "installing torch"
	@$(PIP) torch==2.13.0
	@echo "installing adaptoff and the rest"
	@$(PIP) --editable '.[dev]'
	@touch $@
