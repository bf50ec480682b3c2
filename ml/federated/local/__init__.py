"""A training on one machine: setting it up, and the processes of its clients and validators."""
