"""What runs where a client's data is: local training, a client's keys, and the worker for both."""
