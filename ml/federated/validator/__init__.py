"""A validator: its own process, its own account, and the validation part that it measures on."""
