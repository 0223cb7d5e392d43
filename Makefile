# `make run` and `make test` are all that a newcomer types. VENV=DIR puts the environment elsewhere.
VENV ?= .venv
PYTHON ?= python3
# Files of tests that run at the same time; each takes about 1.5 GB. Three keep two cores busy: a
# third of the time a test waits for a clock or a disk. With more threads than cores OpenMP must not
# wait in loops: a test cost up to ten times as much.
TEST_PROCESSES ?= 3
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUNNABLE := $(VENV)/.runnable

# TORCH=cpu: PyTorch without CUDA, a fifteenth of the download. macOS has no other.
ifeq ($(TORCH),cpu)
export PIP_EXTRA_INDEX_URL := https://download.pytorch.org/whl/cpu
endif

.PHONY: help run test test-fast test-lowest test-latest soak deploy container-check browser audit lint bench docs styles wheel setup clean

# Ctrl-C is how one leaves, no error of make's.
run: $(RUNNABLE) ## paints what is in inbox/ and watches it, until Ctrl-C
	@trap : INT; $(BIN)/python -m pipeline watch || test $$? -eq 130

help: ## lists these targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

# A file's tests stay together: they share what is expensive to make. Files begin in the order of
# tests/conftest.py; by default those with the most tests would, which are not the longest. The
# tests start the program some hundred times: without bytecode it would be compiled each time.
PYTEST = env -u PYTHONDONTWRITEBYTECODE OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1 \
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

test: setup browser ## all tests, as CI runs them
	$(PYTEST)

test-fast: setup ## the quick tests of every package, about a minute on 2 cores
	$(PYTEST) -m "not slow"

# Each in an environment of its own. pip takes these variables as its options.
test-lowest: ## the quick tests with the lowest versions that pyproject.toml allows
	@mkdir -p .venv-lowest
	$(PYTHON) scripts/lowest_versions.py > .venv-lowest/constraints.txt
	PIP_CONSTRAINT=$(CURDIR)/.venv-lowest/constraints.txt $(MAKE) test-fast VENV=.venv-lowest

test-latest: ## the quick tests with the newest versions that pyproject.toml allows
	rm -f .venv-latest/.installed
	PIP_UPGRADE=1 PIP_UPGRADE_STRATEGY=eager $(MAKE) test-fast VENV=.venv-latest

# The page tests need a chromium: installed where this account may, said plainly where it may not.
BROWSERS := chromium chromium-browser google-chrome google-chrome-stable
browser:
	@for name in $(BROWSERS); do command -v $$name >/dev/null && exit 0; done; \
	root=$$(test "$$(id -u)" = 0 || echo "sudo -n"); export DEBIAN_FRONTEND=noninteractive; \
	command -v apt-get >/dev/null && $$root apt-get update -qq \
	  && $$root apt-get install -qq -y --no-install-recommends chromium >/dev/null \
	  || echo "No chromium, and it cannot be installed here: the tests of the gallery page are skipped."

# SOAK_SEED=N for another half hour; SOAK_SECONDS=N for a longer or shorter one.
soak: setup ## half an hour of kill -9 on the real daemon
	SOAK_SECONDS=$${SOAK_SECONDS:-1800} $(BIN)/python -m pytest -m soak -s

# By systemd's, macOS' and hadolint's own checks where they are.
deploy: setup ## checks the systemd units, the launchd agent and the container file
	$(BIN)/python -m pytest -rs tests/end_to_end/test_deployment.py

# CONTAINER_FLAGS are the builder's, such as --build-arg TORCH_INDEX=URL.
container-check: ## builds the container and runs it, where docker or podman is
	@scripts/container_check.sh $(CONTAINER_FLAGS)

# Exit code 2 where nothing could be looked up, which pip-audit alone calls a success.
audit: setup ## looks for known vulnerabilities of what is installed
	@$(BIN)/python scripts/audit.py

lint: setup ## ruff and mypy, as CI runs them
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup ## measures speed and pictures against the targets
	$(BIN)/python -m benchmarks

docs: setup ## writes the generated parts of the docs again
	$(BIN)/python scripts/make_docs.py

styles: setup ## draws the starter styles again
	$(BIN)/python scripts/make_styles.py

# The same sources make the same bytes: files get the time of the last commit.
wheel: setup ## builds dist/*.whl, which works outside the clone
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/python -m pip wheel -q --no-deps --no-build-isolation -w dist .

setup: $(STAMP) ## makes the environment

# An environment whose Python has gone (the system was upgraded, the clone moved) is made again.
ifneq ($(shell $(BIN)/python -c "print(1)" 2>/dev/null),1)
.PHONY: $(STAMP) $(RUNNABLE)
endif

# Installed again only when the project file changes. A venv that failed half-way has no pip.
define prepare_venv
@command -v $(PYTHON) >/dev/null || { echo "error: there is no $(PYTHON): install Python 3.11 or newer, or say where it is: make PYTHON=/usr/local/bin/python3.12" >&2; exit 2; }
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
endef

# What the program needs. The tests need much more, and `make run` does not wait for that.
$(RUNNABLE): pyproject.toml
	$(prepare_venv)
	@echo "Installing PyTorch and the rest of what the program needs into $(VENV), once. Most of it is PyTorch: 3 GB with CUDA, 200 MB with TORCH=cpu; a few minutes."
	@$(BIN)/python -m pip install --disable-pip-version-check -e .
	@touch $(RUNNABLE)
	@echo "Installed. In each new shell type \`. $(BIN)/activate\` first, then \`pipeline --help\`."

$(STAMP): pyproject.toml
	$(prepare_venv)
	@echo "Installing the program and what its tests need into $(VENV), once; a few minutes."
	@$(BIN)/python -m pip install --disable-pip-version-check -e ".[dev]"
	@touch $(STAMP) $(RUNNABLE)
	@echo "Installed. In each new shell type \`. $(BIN)/activate\` first, then \`pipeline --help\`."

clean: ## removes environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache *.egg-info
