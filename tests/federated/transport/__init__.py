"""What ml.federated.transport promises: no message lost, whoever dies or restarts."""
