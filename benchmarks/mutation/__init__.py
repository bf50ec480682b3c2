"""Mutation testing of the contracts: whether a test notices when the code is wrong."""
