# The commands of the project; `make help` lists them. All of them make what they need in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# One stamp for each set of dependencies: written when pip has ended well, out of date when
# pyproject.toml is younger.
BASE := $(VENV)/.installed-base
TEST := $(VENV)/.installed-test
DEV := $(VENV)/.installed-dev
BENCH := $(VENV)/.installed-bench
PLOT := $(VENV)/.installed-plot

# Kernels for GPUs run in numba's simulator, which is chosen before numba is imported.
CUDA_TESTS := NUMBA_ENABLE_CUDASIM=1 $(BIN)/python -m pytest tests/cuda
# What the long forms of the tests state.
FIGURES := build/figures

.DEFAULT_GOAL := help
.PHONY: help train test trust coverage mutants lint types format bench gpu gpu-smoke gpu-kit sklearn asv defaults functions pictures clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

train: $(BASE)  ## install, then train on scikit-learn's handwritten digits
	$(BIN)/fastmlp train digits --out runs/digits

test: $(TEST)  ## install, then run the whole test suite
	@status=0; $(CUDA_TESTS) || status=1; $(BIN)/python -m pytest || status=1; exit $$status

# TESTS names some of the tests, `make trust TESTS=tests/fuzz`.
trust: $(TEST)  ## the test suite in its long forms, its figures into docs/guarantees.md (hours)
	@rm -rf $(FIGURES); status=0; export FASTMLP_TRUST=1; \
	$(if $(TESTS),,FASTMLP_FIGURES=$(FIGURES)/simulator.json $(CUDA_TESTS) || status=1;) \
	FASTMLP_FIGURES=$(FIGURES)/tests.json $(BIN)/python -m pytest $(TESTS) || status=1; \
	$(BIN)/python -m tests.guarantees_page $(if $(TESTS),,$(FIGURES)/simulator.json) \
		$(FIGURES)/tests.json || status=1; exit $$status

# Tests of interrupts at every call would interrupt what counts the lines; a light import is none
# with it. Of the simulator, the tests that go through engine/cuda.
COVERAGE := $(BIN)/python -m coverage
SIMULATED := $(addprefix tests/cuda/test_,jobs.py gpu_arrays.py memory.py network.py \
	user_functions.py)
COUNTED := tests/api tests/fuzz tests/golden tests/test_cuda_launches.py tests/test_gpu_launches.py \
	tests/kernels/test_block_shuffle.py \
	--ignore tests/api/model/test_interrupted_calls.py \
	--ignore tests/api/engine/test_interrupted_loading.py \
	--deselect tests/api/data/test_inputs.py::test_import_is_light
coverage: $(TEST)  ## how much of fastmlp/ the tests reach; fails below 95 % of lines (1 hour)
	@rm -rf build/coverage; mkdir -p build/coverage; status=0; \
	NUMBA_ENABLE_CUDASIM=1 $(COVERAGE) run -m pytest $(SIMULATED) || status=1; \
	$(COVERAGE) run -m pytest $(COUNTED) || status=1; \
	$(COVERAGE) combine --quiet && $(COVERAGE) json --quiet && \
	$(BIN)/python -m tests.coverage_bounds build/coverage/report.json || status=1; exit $$status

mutants: $(TEST)  ## do the tests notice 300 small wrong changes of kernels and checks? (hours)
	@rm -f build/mutants.jsonl
	$(BIN)/python -m tests.mutants --json build/mutants.jsonl

lint: $(DEV)  ## ruff: style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(DEV)  ## ruff: mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(DEV)  ## mypy
	$(BIN)/mypy

bench: $(BENCH)  ## time a step of fastmlp and its peers, into the README (12 minutes)
	$(BIN)/python -m benchmarks.peers --case all --json benchmarks/results/peers.jsonl
	$(BIN)/python -m benchmarks.readme benchmarks/results/peers.jsonl --into README.md \
		--picture docs/pictures/speed.png

# OUT names the folder for the results, benchmarks/results where it is not given.
GPU_OPTIONS = $(if $(OUT),--out '$(OUT)')

gpu:  ## check and measure on a CUDA GPU, with what $(PYTHON) or gpu-kit/ has (9 minutes)
	@$(PYTHON) -m benchmarks.gpu $(GPU_OPTIONS)

gpu-smoke:  ## the first checks on a CUDA GPU, likewise (150 seconds)
	@$(PYTHON) -m benchmarks.gpu.smoke $(GPU_OPTIONS)

gpu-kit: $(TEST)  ## pack all that a GPU machine without a network needs, into build/ (10 minutes)
	$(BIN)/python -m benchmarks.gpu.kit

sklearn: $(BENCH)  ## time whole fits beside scikit-learn's, into the README (2 minutes)
	$(BIN)/python -m benchmarks.sklearn_fits --into README.md

asv: $(BENCH)  ## a short asv run on the working tree
	$(BIN)/asv machine --yes
	$(BIN)/asv run --quick --show-stderr --python=same

defaults: $(BASE)  ## measure the default settings over 20 seeds, into the README
	$(BIN)/python -m benchmarks.defaults --seeds 20 --into README.md

functions: $(TEST)  ## write the tables of docs/functions.md from the records
	$(BIN)/python -m tests.functions_page

pictures: $(PLOT)  ## draw docs/pictures, from the code's imports and from training runs
	$(BIN)/python -m tests.imports_picture docs/pictures/imports.png
	$(BIN)/python -m fastmlp.report.pictures docs/pictures

clean:  ## remove the environment and everything that was built or measured
	rm -rf $(VENV) .asv .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info runs
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else \
	"fastmlp needs Python 3.11 or later, %s is %d.%d; try: make PYTHON=python3.12" \
	% (sys.executable, v[0], v[1]))'
	$(PYTHON) -m venv $(VENV)

$(BASE): pyproject.toml | $(BIN)/python
	$(PIP) install -e .
	@touch $@

$(TEST): pyproject.toml | $(BIN)/python
	$(PIP) install -e '.[test]'
	@touch $@ $(BASE)

$(DEV): pyproject.toml | $(BIN)/python
	$(PIP) install -e '.[dev]'
	@touch $@ $(BASE)

$(BENCH): pyproject.toml | $(BIN)/python
	$(PIP) install -e '.[bench]'
	@touch $@ $(BASE)

$(PLOT): pyproject.toml | $(BIN)/python
	$(PIP) install -e '.[plot]'
	@touch $@ $(BASE)
