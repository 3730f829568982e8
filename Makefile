# `make demo` and `make test` work on a fresh machine with Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test test-slow lint format bench clean

setup: $(STAMP)

# torch comes first and alone: with it in place, no later package asks for the CUDA build.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/podium run recipes/demo.yaml

# A process per core, a file of tests each, one thread in each of them. Programs that mean harm run alone: what they may
# use up before they are noticed depends on who else computes.
HOSTILE := tests/sandbox/test_hostile.py
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --ignore $(HOSTILE)
	$(BIN)/python -m pytest $(HOSTILE)

test-slow: setup
	$(BIN)/python -m pytest -m slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Speculation is measured on the demo's model. Peers are installed beside this environment and never into it; one that
# cannot be had is skipped by its benchmark. All benchmarks run, whatever one of them says.
bench: demo
	-PODIUM_PYTHON=$(CURDIR)/$(BIN)/python benchmarks/peers/install.sh timm trl ipykernel
	failed=; for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || failed="$$failed $$file"; done; \
	if [ -n "$$failed" ]; then echo "failed, or missed a target:$$failed"; exit 1; fi

clean:
	rm -rf $(VENV) build dist
