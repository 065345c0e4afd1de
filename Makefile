# make chat   the assistant on http://localhost:7860 (fetches all it needs, once)
# make test   style, types and tests             make check   style, spelling, types and security only
# make soak   faults, load, many made-up inputs  make index   build the index and stop
# make bench  how fast it is, beside engines     make quality how right it is (hours)
# make audit  known faults of what it is built on (asks PyPI)
# make clean  remove the virtual environment and the index

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: setup chat index test check fix soak quality bench audit clean

setup: $(VENV)/ready

$(VENV)/ready: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/ready-dev: $(VENV)/ready requirements-dev.txt
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements-dev.txt
	touch $@

chat: setup
	$(BIN)/python app.py

index: setup
	$(BIN)/python -m assistant index

check: $(VENV)/ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell *.md app.py assistant evaluation/*.py evaluation/data/*.md docs knowledge tests
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy
	$(BIN)/bandit -q -ll -c pyproject.toml -r app.py assistant

test: check
	$(BIN)/python -m assistant weights
	$(BIN)/python -m assistant weights smollm2-135m
	$(BIN)/python -m pytest

soak: $(VENV)/ready-dev
	$(BIN)/python -m pytest -m soak
	$(BIN)/python -m evaluation load

quality: $(VENV)/ready-dev
	$(BIN)/python -m evaluation retrieval
	$(BIN)/python -m evaluation places
	$(BIN)/python -m evaluation questions
	$(BIN)/python -m evaluation injection
	$(BIN)/python -m evaluation answers --limit 300

bench: $(VENV)/ready-dev
	$(BIN)/python -m pip install --disable-pip-version-check -r evaluation/requirements.txt
	$(BIN)/python -m evaluation speed --limit 30
	$(BIN)/python -m evaluation readers

# strict: where PyPI cannot be asked it fails instead of finding nothing
audit: setup
	$(BIN)/python -m pip install --disable-pip-version-check "pip-audit>=2.9,<3"
	$(BIN)/pip-audit --strict

fix: $(VENV)/ready-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) index/*.sqlite* index/*.faiss
