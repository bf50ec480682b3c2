"""Specifications of the contracts, on a real Anvil, through the typed client as users go.

The searches (test_lockstep, test_judgements, test_entry_points) try FUZZ times as many cases as
usual: `FUZZ=20 ape test tests/contracts -n 2` for a long run.
"""
