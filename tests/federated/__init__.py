"""What ml.federated promises: data split among clients, signed updates, reproducible aggregates."""
