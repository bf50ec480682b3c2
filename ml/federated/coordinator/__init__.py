"""Who runs a training's rounds: asks clients, aggregates, stores, registers, and goes back."""
