# Each target sets up what it needs in .venv (Python 3.11 or newer; the newest one found when python3 is too old).

SUITABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for one in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$one -c '$(SUITABLE)' 2>/dev/null && { echo $$one; break; }; done)
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest

.PHONY: help demo test check test-agents agents-table test-compiled test-faults bench clean

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: .venv/installed  ## See it work: a scripted provider, a small real agent, what was recorded (no key needed)
	$(BIN)/ocproxy demo

test: .venv/ready  ## The whole suite, the long runs cut short, under 5 minutes on two cores
	$(PYTEST) -n 2
	FAULTS=short $(PYTEST) -m faults tests/faults

check: .venv/ready  ## Formatting, lint, types, the house rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) -q tests/test_architecture.py

# What fails is played once more: these are other people's programs, and a failure counts when it comes again.
test-agents: .venv/ready  ## The latest real agents from npm and PyPI, headless, through ocproxy (needs npm)
	$(PYTEST) -n 2 --dist worksteal -m real_agents tests/real_agents || \
		$(PYTEST) -n 2 --dist worksteal -m real_agents --last-failed --last-failed-no-failures none tests/real_agents

agents-table: .venv/ready  ## The same, and keep the table of agent and scenario in docs/agents.md
	AGENTS_TABLE=docs/agents.md $(PYTEST) -n 2 --dist worksteal -m real_agents tests/real_agents

test-compiled: .venv/ready .compiled/installed  ## The relay, the journal and whole runs again, as mypyc compiles them for the wheel
	PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/.compiled COMPILED=1 $(PYTEST) -n 2 -o pythonpath=".compiled ." \
		-m 'not faults and not real_agents and not interpreted' tests/relay tests/journal tests/e2e

test-faults: .venv/ready  ## The long runs: kill -9, locked database, full disk
	$(PYTEST) -m faults tests/faults

bench: .venv/ready .compiled/installed  ## Speed and size, as tables (needs nothing but time; some parts need nginx)
	for one in bench/*.py; do PYTHONPATH=$(CURDIR)/.compiled $(BIN)/python $$one || exit 1; done

clean:  ## Remove .venv and all caches
	rm -rf .venv .compiled .agents .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build

# What a user gets.
.venv/installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer with venv was found: install one, or make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	OCPROXY_PURE=1 $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

# What the wheel holds, the relay compiled; made anew when a source changed.
.compiled/installed: .venv/installed hatch_build.py pyproject.toml $(shell find ocproxy migrations -name '*.py')
	rm -rf .compiled
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target .compiled .
	@ls .compiled/ocproxy/relay/*.so >/dev/null || { echo "the wheel is not compiled: is there a C compiler?" >&2; exit 1; }
	@touch $@

# What a developer needs on top (dependency groups: pip 25.1).
.venv/ready: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dev
	@touch $@
