"""The contract tests on other EVM nodes than Anvil: ``python -m tools.conformance``."""
