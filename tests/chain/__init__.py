"""Specifications of ml/chain."""
