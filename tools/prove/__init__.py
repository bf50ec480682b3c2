"""Invariants, symbolic proofs and static analysis of the contracts: ``make prove``."""
