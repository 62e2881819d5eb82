# make demo: set up and score the example images.  make test: set up and check everything.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# auto: the CPU build where no NVIDIA driver is found; or cpu, cuda.
TORCH ?= auto
EXTRAS ?= test,train,ray,app,report,metrics,docs

.PHONY: demo test test-all lint types docs kernels audit dist setup clean

demo: $(VENV)/.ready-base
	$(BIN)/diffagiqa demo

# The quick tests: one of each kind of the slow ones is among them.
test: setup lint types docs
	$(BIN)/python -m pytest -m "not slow"

test-all: setup lint types docs
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
	TRITON_INTERPRET=1 $(BIN)/python -m pytest tests/accel/test_fused.py

audit: setup
	-@$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/python tools/audit.py

# Wheel and source archive, checked; the wheel scores the drawn images in an environment of its own.
dist: setup
	-@$(BIN)/python -m pip install --quiet --disable-pip-version-check build twine
	rm -rf build/dist build/wheel-env
	$(BIN)/python -m build --outdir build/dist .
	$(BIN)/python -m twine check --strict build/dist/*
	$(PYTHON) -m venv build/wheel-env
	build/wheel-env/bin/python tools/install_torch.py "$$(grep '^torch==' constraints.txt)" --build $(TORCH)
	build/wheel-env/bin/python -m pip install --quiet --constraint constraints.txt build/dist/*.whl
	cd build && wheel-env/bin/diffagiqa demo wheel-demo

setup: $(VENV)/.ready-all

$(VENV)/pyvenv.cfg:
	$(PYTHON) -m venv $(VENV) || { \
	  echo "python3 -m venv failed: on Debian, apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.ready-base: pyproject.toml constraints.txt tools/install_torch.py | $(VENV)/pyvenv.cfg
	$(BIN)/python tools/install_torch.py "$$(grep '^torch==' constraints.txt)" --build $(TORCH)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.ready-all: $(VENV)/.ready-base
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$(EXTRAS)]"
	@touch $@

clean:
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache
