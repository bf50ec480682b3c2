"""What ml.artifact promises, with real files and real faults."""
