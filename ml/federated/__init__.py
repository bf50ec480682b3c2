"""Federated training: how data is split, updates are signed and checked, and models aggregated.

Importing a module here is cheap: `splits` and the aggregation rules need numpy alone.
"""
