"""Measurements. Each writes its figures to ``results`` and prints a table."""
