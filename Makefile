# make demo    set up everything and run the main job on the real synth; the report is in demo/
# make test    set up what the tests need, and run them
# make check   lint, format, types and the direction of imports
# make docs    build the documentation in docs/_build
# make clean   delete what make made: .venv, demo, caches
#
# Needs Python 3.11 or newer. All is installed into .venv, except amsynth, which
# `pyrosynth install` puts into the user's data folder. Every step may be interrupted and run again.

CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11
NEW_ENOUGH := import sys; sys.exit(3 * (sys.version_info < (3, 11)))
PYTHON ?= $(shell for p in $(CANDIDATES); do $$p -c "$(NEW_ENOUGH)" 2>/dev/null && echo $$p && break; done)
ARGS :=

PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install -c constraints.txt
# Caches of ArviZ, numba and matplotlib go here: they cannot do without, and HOME may be empty.
RUN := XDG_CACHE_HOME="$(CURDIR)/.venv/cache" MPLCONFIGDIR="$(CURDIR)/.venv/cache" $(PY)

.PHONY: demo test check docs clean
.DELETE_ON_ERROR:

demo: .venv/.package
	@$(RUN) -m pyrosynth demo --out demo $(ARGS)

# Either process takes half of the tests, in order, so that what a file needs is set up once.
test: .venv/.dev .venv/.plugins .venv/.outside
	@PATH="$(CURDIR)/.venv/bin:$$PATH" OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist worksteal \
	  --notebooks=docs/tutorials $(ARGS)

check: .venv/.dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports

docs: .venv/.docs docs/tutorials/07_explore_a_bank.ipynb
	$(RUN) -m sphinx -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf .venv demo build dist docs/_build docs/api docs/tutorials .pytest_cache .mypy_cache .ruff_cache

# The tutorials: the test executes the notebooks, `make test` does so too.
docs/tutorials/07_explore_a_bank.ipynb: $(wildcard notebooks/*.ipynb) | .venv/.dev
	OMP_NUM_THREADS=1 $(RUN) -m pytest -q tests/test_notebooks.py --notebooks=docs/tutorials

.venv/.python:
	@if [ -z "$(PYTHON)" ]; then \
	  echo "pyrosynth needs Python 3.11 or newer, found $$(python3 --version 2>&1);" \
	    "install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; fi
	@$(PYTHON) -c "$(NEW_ENOUGH)"; case $$? in 0) exit;; \
	  3) why="is older than Python 3.11";; 127) why="is not there";; *) why="does not run";; esac; \
	  echo "$(PYTHON) $$why; name another: make PYTHON=/path/to/python3.12" >&2; exit 1
	@# Debian keeps pip's wheel in a package of its own; it is fetched where it is missing.
	@if $(PYTHON) -c "import ensurepip, pyexpat" 2>/dev/null; then \
	  $(PYTHON) -m venv --clear .venv; \
	else \
	  $(PYTHON) -m venv --clear --without-pip .venv && cd .venv && mkdir pip && cd pip && \
	  { apt-get -qq download python3-pip-whl 2>/dev/null && dpkg-deb -x python3-pip-whl_*.deb . && \
	    wheel=$$(echo usr/share/python-wheels/pip-*.whl) && \
	    ../bin/python $$wheel/pip -q install --no-index --no-warn-script-location $$wheel || \
	    { echo "Python's venv module is incomplete; run: sudo apt install python3-venv" >&2; \
	      exit 1; }; }; \
	fi
	@touch $@

# Alone and first: asked for by a range, torch may bring another build than the one pinned. Without
# an NVIDIA card a CPU build will do and is much smaller; pip finds one through PIP_EXTRA_INDEX_URL.
.venv/.torch: .venv/.python constraints.txt
	$(PIP) torch
	@touch $@

.venv/.package: .venv/.torch pyproject.toml
	$(PIP) -e ".[serve]"
	@touch $@

# The tests that call librosa themselves would compile it in two processes at once.
.venv/.dev: .venv/.package
	$(PIP) -e ".[dev]"
	@$(RUN) -c "from pyrosynth.audio.tuning import load_librosa; load_librosa()"
	@touch $@

.venv/.docs: .venv/.dev
	$(PIP) -e ".[dev,docs]"
	@touch $@

# The tests make out-of-domain sounds; this fetches the programs that play them.
.venv/.outside: .venv/.package
	@$(PY) -m benchmarks.outside --out .venv/outside --each 1
	@touch $@

# The tests build a faulty plugin, and play the real synth.
.venv/.plugins: .venv/.package
	@$(PY) -m pyrosynth install amsynth
	@if ! command -v cc >/dev/null; then \
	  $(PIP) ziglang && printf '#!/bin/sh\nexec "%s/$(PY)" -m ziglang cc "$$@"\n' "$(CURDIR)" \
	    > .venv/bin/cc && chmod +x .venv/bin/cc; fi
	@touch $@
