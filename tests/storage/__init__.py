"""Where a model's bytes live."""
