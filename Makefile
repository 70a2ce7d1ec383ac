# One-line names for `gatebench ...` and the usual tools. On a fresh machine with Python 3.11
# or newer and make, `make bench SERVER=gunicorn-uvicorn` is the only command needed.

PYTHON   ?= python3
SERVER   ?=
SCENARIO ?=
ARGS     ?=
A        ?=
B        ?=
REGRESS  ?= waitress@3.0.2,uvicorn,gunicorn-uvicorn,hypercorn,gunicorn-gthread
SLO      ?=

comma := ,
OWN   := uvicorn:asgi gunicorn-gthread:wsgi
BIN   := .venv/bin
READY := .venv/.ready
DEV   := .venv/.dev
NOTEBOOKS := .venv/.notebooks

# make ignores a name that it does not know, and with it what was asked for
misspelt = $(if $(findstring command,$(origin $(1))),$(error there is no $(1)=; did you mean $(2)=?))
$(call misspelt,SERVERS,SERVER)$(call misspelt,SCENARIOS,SCENARIO)$(call misspelt,ARG,ARGS)

.DEFAULT_GOAL := help
.PHONY: help bench compare gate regress selfcheck capacity tune report notebooks calibrate probe list doctor test test-fast test-slow lint format clean

help: ## what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | column -t -s '|'

bench: $(READY) ## measure: SERVER=a,b SCENARIO=x,y ARGS="--blocks 4" (no SERVER: a first look)
	@$(BIN)/gatebench run $(subst $(comma), ,$(SERVER)) $(if $(SCENARIO),--scenario $(SCENARIO)) $(ARGS)

compare: $(READY) ## whether B is better or worse than A: A=a B=b SCENARIO=x
	@$(BIN)/gatebench compare $(A) $(B) $(if $(SCENARIO),--scenario $(SCENARIO)) $(ARGS)

# What BASE and HEAD say goes through the environment, so that a command line stays one word.
gate: $(READY) ## whether HEAD=b is worse than BASE=a; without them: our apps, beside those of REF=origin/main
ifneq (,$(value BASE)$(value HEAD))
	@$(BIN)/gatebench gate --base "$$BASE" --head "$$HEAD" $(if $(SCENARIO),--scenario $(SCENARIO)) $(ARGS)
else
	@base=$$(mktemp -d) && trap 'rm -rf "$$base"' EXIT && trap 'exit 130' INT TERM && mkdir -p results && \
	git archive --format=tar --output="$$base/apps.tar" "$${REF:-origin/main}" apps && tar -x -f "$$base/apps.tar" -C "$$base" && \
	worst=0 && for pair in $(OWN); do \
	  $(BIN)/gatebench gate "$${pair%:*}" --app "$${pair#*:}:app" --base-dir "$$base/apps" --head-dir apps \
	    --junit "results/gate-$${pair#*:}.xml" $(ARGS) || { code=$$?; [ $$worst -eq 10 ] || worst=$$code; }; \
	done && exit $$worst
endif

# The first of REGRESS is what the others are held to, so its version stays. A check that ends with 3
# has too few runs yet to say anything, as on the first nights.
regress: $(READY) ## what is measured each night: added to the history and checked (SERVER=a,b SCENARIO=x)
	@before=$$(ls -td results/*/run.json 2>/dev/null | head -n 1); \
	$(BIN)/gatebench run $(subst $(comma), ,$(or $(SERVER),$(REGRESS))) --scenario $(or $(SCENARIO),hello$(comma)blocking-io) \
	  --blocks 6 $(ARGS); code=$$?; [ $$code -eq 0 ] || [ $$code -eq 3 ] || exit $$code; \
	run=$$(ls -td results/*/run.json 2>/dev/null | head -n 1); [ "$$run" != "$$before" ] || exit $$code; \
	$(BIN)/gatebench history add "$${run%/run.json}" || exit $$?; \
	$(BIN)/gatebench history check $${GITHUB_STEP_SUMMARY:+--summary "$$GITHUB_STEP_SUMMARY"}; found=$$?; \
	$(BIN)/gatebench history site || exit $$?; \
	case $$found in 0|3) exit $$code;; *) exit $$found;; esac

selfcheck: $(READY) ## that this machine calls no server different from itself: SERVER=a
	@$(BIN)/gatebench selfcheck $(SERVER) $(if $(SCENARIO),--scenario $(SCENARIO)) $(ARGS)

report: $(READY) ## print the newest run again: RUN=results/...
	@$(BIN)/gatebench report $(RUN) $(ARGS)

notebooks: $(NOTEBOOKS) ## ask a run questions: RUN=results/... ARGS="blocking_io -p scenario=upstream"
	@$(BIN)/gatebench notebooks $(RUN) $(ARGS)

calibrate: $(READY) ## measure the load generator itself, beside wrk and Locust's clients
	@$(BIN)/gatebench calibrate $(ARGS)

probe: $(READY) ## what each server can really do, by trying it: SERVER=a,b (no SERVER: all)
	@$(BIN)/gatebench probe $(if $(SERVER),$(subst $(comma), ,$(SERVER)),'*') $(ARGS)

capacity: $(READY) ## the rate that SERVER=a,b can keep under SLO="p99<100ms" (SCENARIO=x)
	@$(BIN)/gatebench capacity $(subst $(comma), ,$(SERVER)) --slo "$(SLO)" $(if $(SCENARIO),--scenario $(SCENARIO)) $(ARGS)

tune: $(READY) ## how many workers and threads SERVER=a should have (SCENARIO=x)
	@$(BIN)/gatebench tune $(SERVER) $(if $(SCENARIO),--scenario $(SCENARIO)) $(ARGS)

list: $(READY) ## servers, apps and scenarios
	@$(BIN)/gatebench list $(ARGS)

doctor: $(READY) ## what is missing on this machine, and the command that installs it
	@$(BIN)/gatebench doctor $(ARGS)

test: $(DEV) ## the tests, with real servers
	@$(BIN)/pytest -m "not alone and not slow" -n 4 --dist worksteal $(ARGS)
	@$(BIN)/pytest -m "alone and not slow" $(ARGS)

test-fast: $(DEV) ## the tests that start no server
	@$(BIN)/pytest -m "not servers and not alone and not slow" -n 4 $(ARGS)

test-slow: $(DEV) ## the tests that take minutes
	@$(BIN)/pytest -m slow $(ARGS)

lint: $(DEV) ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: $(DEV) ## ruff's own formatting
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

clean: ## remove .venv and caches; results stay
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The marks are written last, so a set-up that was interrupted is done again.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo 'gatebench needs Python 3.11 or newer as "$(PYTHON)"; name another with make PYTHON=python3.12' >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo 'this Python cannot make environments; on Debian: apt-get install python3-venv' >&2; exit 2; }
	@echo 'setting up .venv (once) ...' >&2
	@rm -rf .venv && $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --editable .
	@touch $@

$(NOTEBOOKS): $(READY)
	@echo 'installing what notebooks need (once) ...' >&2
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --group notebooks
	@touch $@

$(DEV): $(READY)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --group dev
	@touch $@
