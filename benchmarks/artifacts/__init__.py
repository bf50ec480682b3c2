"""What verifying a model costs, beside Model Signing: ``python -m benchmarks.artifacts``."""
