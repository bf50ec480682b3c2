# `make help` lists what can be done here. A target that needs the set-up does it first.

BIN := .venv/bin
# Once there is a virtual environment, its own Python keeps it up to date.
PYTHON ?= $(shell test -x $(BIN)/python && echo $(BIN)/python || echo python3)
PORT ?= 8545
TESTS ?=
# One more than there are cores, since tests wait for nodes.
WORKERS ?= $(shell echo $$(( $$(nproc 2>/dev/null || echo 2) + 1 )))
NODES ?=
MUTANTS ?=
# The folders whose types are checked; which of them there are.
TYPED = $(wildcard ml scripts bots benchmarks tools)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long prove conformance lint format node mutation rabbitmq bench-gas bench-gas-history bench-storage bench-artifacts bench-chain bench-federated bench-overhead bench-flower bench-questions clean

help: ## list the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1|\2/p' Makefile | column -t -s '|'

setup: ## install the locked packages into .venv and node_modules (the other targets do it too)
	@command -v $(PYTHON) >/dev/null || \
		{ echo "setup: $(PYTHON) was not found: install Python 3.11 or newer." >&2; exit 2; }
	@$(PYTHON) tools/setup.py

# Ape does not notice that a library which a contract imports has changed.
.build/__local__.json: $(shell find contracts -name '*.sol' -not -path '*/.cache/*') ape-config.yaml
	$(BIN)/ape compile --force --verbosity WARNING
	@touch $@

demo: setup ## the whole story on MNIST, on a chain of its own, in under two minutes
	@$(MAKE) --no-print-directory .build/__local__.json
	@$(BIN)/ape run demo

APE_TEST = $(BIN)/ape test -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test: setup ## lint, then the tests; TESTS="-k name" or a path narrows it
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target lint .build/__local__.json
	$(APE_TEST) -m "not long" $(TESTS)

test-long: setup ## the tests that `make test` leaves out: more cases of what it tests too
	@$(MAKE) --no-print-directory .build/__local__.json
	$(APE_TEST) -m long $(TESTS)

# The provers, apart from .venv: slither and Ape ask for different versions of web3.
PROVERS := .venv-prove/.installed
$(PROVERS): tools/prove/requirements.lock
	@$(BIN)/python -m venv --clear .venv-prove
	@.venv-prove/bin/python -m pip install -qq --no-input --disable-pip-version-check --no-compile \
		--no-deps --require-hashes -r $<
	@touch $@

prove: setup $(PROVERS) ## invariants, symbolic proofs and static analysis of the contracts
	@$(BIN)/python -m tools.prove

# The nodes that only this needs. npm writes this file last.
OTHER_NODES := tools/conformance/node_modules/.package-lock.json
$(OTHER_NODES): tools/conformance/package.json tools/conformance/package-lock.json
	@cd tools/conformance && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

conformance: setup $(OTHER_NODES) ## the contract tests on four EVM nodes; NODES="ganache" narrows it
	@$(MAKE) --no-print-directory .build/__local__.json
	@$(BIN)/python -m tools.conformance $(NODES)

mutation: setup ## see whether tests notice mutants of the contracts: hours, and it can be stopped
	@$(MAKE) --no-print-directory .build/__local__.json
	@$(BIN)/python -m benchmarks.mutation $(MUTANTS)

lint: setup ## check formatting, style and types of Python, and the formatting of Solidity
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(TYPED)
	$(BIN)/forge fmt --check

format: setup ## put Python and Solidity into the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/forge fmt

node: setup ## run a development chain that survives restarts, on PORT (8545); Ctrl-C stops it
	@$(BIN)/python -m ml.chain.node --port $(PORT)

rabbitmq: setup ## run a RabbitMQ broker, fetched with apt on first use, on a free port; Ctrl-C stops it
	@$(BIN)/python -m tools.rabbitmq

# The contracts that only benchmarks need. npm writes this file last.
PEERS := benchmarks/peers/node_modules/.package-lock.json
$(PEERS): benchmarks/peers/package.json benchmarks/peers/package-lock.json
	@cd benchmarks/peers && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

bench-gas: setup $(PEERS) ## measure the gas of every operation, and of its peers, into docs/gas.md
	@$(MAKE) --no-print-directory .build/__local__.json
	@$(BIN)/python -m benchmarks.gas

bench-gas-history: setup ## measure gas against the length of a model's history into docs/gas.md
	@$(MAKE) --no-print-directory .build/__local__.json
	@$(BIN)/python -m benchmarks.gas.history

bench-storage: setup ## measure encrypting, naming and storing into benchmarks/results/storage.json
	@$(BIN)/python -m benchmarks.storage

bench-artifacts: setup ## measure verifying 1 GiB, beside Model Signing, into benchmarks/results/artifacts.json
	@$(BIN)/python -m benchmarks.artifacts

bench-chain: setup ## measure sending, recording and reading into benchmarks/results/chain_*.json
	@$(MAKE) --no-print-directory .build/__local__.json
	@$(BIN)/python -m benchmarks.chain

bench-federated: setup ## measure what federated training comes to, into docs/federated-results.md: hours
	@$(MAKE) --no-print-directory .build/__local__.json
	@$(BIN)/python -m benchmarks.federated

bench-overhead: setup ## measure what provenance costs a round into docs/research-questions.md: ten minutes
	@$(MAKE) --no-print-directory .build/__local__.json
	@$(BIN)/python -m benchmarks.federated.overhead

bench-flower: setup ## measure rounds beside Flower's simulation into docs/research-questions.md
	@$(MAKE) --no-print-directory .build/__local__.json
	@$(BIN)/python -m benchmarks.federated.flower

bench-questions: setup ## measure the research questions, beside MLflow, into docs/research-questions.md
	@$(MAKE) --no-print-directory .build/__local__.json
	@$(BIN)/python -m benchmarks.federated.questions

clean: ## remove what set-up, compilers and tests made; chains, models and deployments stay
	rm -rf .venv .venv-prove node_modules benchmarks/peers/node_modules tools/conformance/node_modules \
		tests/storage/ipfs_peer/node_modules tests/artifact/model_signing_peer/venv \
		benchmarks/federated/peers/venv \
		tools/rabbitmq/server \
		.setup.log .build .forge .mutation contracts/.cache \
		.pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
