# make demo: set up and score the example images.  make test: set up and check everything.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# auto: the CPU build where no NVIDIA driver is found; or cpu, cuda.
TORCH ?= auto
EXTRAS ?= test,train,ray,app,report,metrics,docs

.PHONY: demo test lint types docs kernels audit setup clean

demo: $(VENV)/.ready-base
	$(BIN)/diffagiqa demo

test: setup lint types docs
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

# Not --quiet: that would hide warnings from --strict.
docs: setup
	NO_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --strict --site-dir build/site

# The GPU's kernels on a CPU, in Triton's interpreter; 1 GB to install, so not part of setup.
# Where there is a GPU, `make test` runs them on it.
kernels: setup
	$(BIN)/python -m pip install --quiet triton
	TRITON_INTERPRET=1 $(BIN)/python -m pytest tests/model/test_fused.py

audit: setup
	-@$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/python tools/audit.py

setup: $(VENV)/.ready-all

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || { \
	  echo "python3 -m venv failed: on Debian, apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.ready-base: pyproject.toml constraints.txt tools/install_torch.py | $(VENV)/bin/python
	$(BIN)/python tools/install_torch.py "$$(grep '^torch==' constraints.txt)" --build $(TORCH)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.ready-all: $(VENV)/.ready-base
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$(EXTRAS)]"
	@touch $@

clean:
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache
