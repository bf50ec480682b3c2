"""What sending, recording and reading through ml.chain costs."""
