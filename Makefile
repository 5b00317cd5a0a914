# Two commands matter:   make book   builds the book,   make test   proves it.
# `make help` lists the rest. tools/setup.sh finds Python and fills .venv for all of them.

# Everything runs through this interpreter, so a copied or renamed folder still uses its own files.
RUN := .venv/bin/python
JUPYTER_BOOK := $(RUN) -c 'from jupyter_book.cli.main import main; main()'
READY := .venv/.ready
CHAPTERS = $(shell find book -name '*.ipynb' -not -path '*/.ipynb_checkpoints/*' | sort)
JOBS ?= 2
PORT ?= 8000

.DEFAULT_GOAL := help
.PHONY: help setup book lite editions test check-site check-editions lint notebooks sync serve record bench pins clean

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

$(READY): requirements.txt pyproject.toml tools/setup.sh
	@bash tools/setup.sh

setup: $(READY)  ## create .venv and install what the book and the tests need

book: $(READY)  ## build the book into _build/html
	@$(JUPYTER_BOOK) build . -W --keep-going --all
	@echo
	@echo "The book is built. Open _build/html/index.html in a browser, or run: make serve"

# OFFLINE=FOLDER takes Pyodide's packages from there and puts them into the site; BASE=URL is where the site will be.
lite: book  ## build the edition that runs in the browser into _build/html/lite
	@$(RUN) -c "import jupyterlite_core" 2>/dev/null || \
		$(RUN) -m pip --disable-pip-version-check install --quiet -r requirements-lite.txt
	@$(RUN) -m tools.lite $(if $(OFFLINE),--offline "$(OFFLINE)") $(if $(BASE),--base "$(BASE)")

# Each edition says which Debian packages it lacks; the other one is built all the same.
editions: $(READY)  ## build the PDF and the EPUB into _build/editions
	@$(RUN) -m tools.editions

SUITE = $(RUN) -m pytest -n $(JOBS) --dist loadfile --nbval odyssey tests --ignore tests/site --ignore tests/editions $(CHAPTERS)

# One BLAS thread each: JOBS processes with two would wait for one another most of the time.
test: lint  ## lint, types, unit tests, doctests, and every cell of every chapter
	OPENBLAS_NUM_THREADS=1 $(SUITE)

check-site: $(READY)  ## look at the built site with Chromium: formulas, links, accessibility, chapters in the browser
	$(RUN) -m pytest -n $(JOBS) --dist worksteal $(if $(RECORD),-p tools.records --record site) \
		$(foreach file,$(WITHOUT),--ignore tests/site/$(file)) tests/site

check-editions: $(READY)  ## open the PDF and the EPUB: titles, numbers, links, formulas, bookmarks
	$(RUN) -m pytest tests/editions

lint: $(READY)  ## ruff and mypy alone
	$(RUN) -m ruff check .
	$(RUN) -m mypy

notebooks: $(READY)  ## run the chapters again and store their outputs (one: CHAPTER=book/autograd/tape.ipynb)
	$(RUN) tools/notebooks.py $(CHAPTER)

sync: $(READY)  ## copy the package's code into the chapters' source cells
	$(RUN) tools/source_cells.py --write
	@$(RUN) -m tools.install_cell

serve: book  ## build the book and show it at http://localhost:8000
	$(RUN) -m http.server --directory _build/html --bind 127.0.0.1 $(PORT)

# The test that compares the record with the tests there are has to wait until the record is written.
record: $(READY)  ## run the tests and store what came of it for the page of evidence (SITE=yes: those of the site)
	$(if $(SITE),$(MAKE) check-site RECORD=yes,OPENBLAS_NUM_THREADS=1 $(SUITE) -p tools.records --record suite \
		--deselect tests/book/test_evidence.py::test_the_record_is_of_the_tests_that_there_are)

# STORE=yes keeps the results for the page of evidence; RUN=PYTHON takes an interpreter that has PyTorch already.
bench: $(READY)  ## compare speed with PyTorch (downloads PyTorch into .venv the first time)
	$(RUN) -c "import torch" 2>/dev/null || $(RUN) -m pip install -q -e ".[bench]"
	@for script in benchmarks/*.py; do echo "== $$script"; $(RUN) "$$script" $(if $(STORE),--store) || exit 1; done

pins: $(READY)  ## write requirements.txt anew from pyproject.toml (needs the network)
	$(RUN) -m pip install -q uv
	$(RUN) -m uv pip compile --quiet --upgrade --universal --python-version 3.11 --custom-compile-command "make pins" \
		--extra train --extra book --extra test pyproject.toml --output-file requirements.txt
	$(RUN) -m uv pip compile --quiet --upgrade --universal --python-version 3.11 --custom-compile-command "make pins" \
		--extra lite --constraint requirements.txt pyproject.toml --output-file requirements-lite.txt

clean:  ## remove the environment and everything that was built
	rm -rf .venv _build build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
