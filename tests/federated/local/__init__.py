"""Setting a training up, and the processes of one machine."""
