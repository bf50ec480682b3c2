"""Training: data sets, architectures, the loop, metrics, and the record of how a model came about.

Importing a module here is cheap: torch and scikit-learn are imported where they are first needed.
"""
