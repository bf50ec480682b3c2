"""What every operation costs, beside its peers: ``make bench-gas``.

All figures are ``gas_used`` from the receipts of real transactions on Anvil, on contracts as they
are deployed. Accounts, names, digests and times are always the same, so that the figures are too,
to the last unit of gas: ``results/gas.json`` is committed, and a test holds our part of it true.

``content`` is what is written; ``line``, ``registry``, ``signed`` and ``log`` write it to our
contracts, ``peers`` to those of others (``peer_contracts``); ``comparisons`` says what stands
beside what, and what is promised of it. ``history`` is a benchmark of its own: how costs grow, or
do not, with the length of a model's history (``make bench-gas-history``).
"""
