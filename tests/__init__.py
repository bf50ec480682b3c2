"""Specifications, one folder per subject."""
