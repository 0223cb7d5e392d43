# `make run` and `make test` are all that a newcomer types. VENV=DIR puts the environment elsewhere.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: run test browser lint setup bench docs styles clean deploy

# Ctrl-C is how one leaves, no error of make's.
run: setup
	@trap : INT; $(BIN)/python -m pipeline watch || test $$? -eq 130

test: setup browser
	$(BIN)/python -m pytest

# The page tests need a chromium: installed where this account may, said plainly where it may not.
BROWSERS := chromium chromium-browser google-chrome google-chrome-stable
browser:
	@for name in $(BROWSERS); do command -v $$name >/dev/null && exit 0; done; \
	root=$$(test "$$(id -u)" = 0 || echo "sudo -n"); export DEBIAN_FRONTEND=noninteractive; \
	command -v apt-get >/dev/null && $$root apt-get update -qq \
	  && $$root apt-get install -qq -y --no-install-recommends chromium >/dev/null \
	  || echo "No chromium, and it cannot be installed here: the tests of the gallery page are skipped."

# Half an hour of kill -9 on the real daemon; SOAK_SEED=N for another half hour.
soak: setup
	SOAK_SECONDS=$${SOAK_SECONDS:-1800} $(BIN)/python -m pytest -m soak -s

# Exit code 2 where nothing could be looked up, which pip-audit alone calls a success.
# Units, agent and container file, by systemd's, macOS' and hadolint's own checks where they are.
deploy: setup
	$(BIN)/python -m pytest -rs tests/end_to_end/test_deployment.py

audit: setup
	@$(BIN)/python scripts/audit.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m benchmarks

docs: setup
	$(BIN)/python scripts/make_docs.py

styles: setup
	$(BIN)/python scripts/make_styles.py

setup: $(STAMP)

# An environment whose Python has gone (the system was upgraded, the clone moved) is made again.
ifneq ($(shell $(BIN)/python -c "print(1)" 2>/dev/null),1)
.PHONY: $(STAMP)
endif

# Installed again only when the project file changes. A venv that failed half-way has no pip.
$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "error: there is no $(PYTHON): install Python 3.11 or newer, or say where it is: make PYTHON=/usr/local/bin/python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV); the first time this takes some minutes."
	@$(BIN)/python -m pip install --disable-pip-version-check -e ".[dev]"
	@touch $(STAMP)
	@echo "Installed. In each new shell type \`. $(BIN)/activate\` first, then \`python -m pipeline --help\`."

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache *.egg-info
