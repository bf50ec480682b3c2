"""What ml.training promises: data, training, metrics, and the record of a model."""
