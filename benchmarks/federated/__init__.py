"""What federated training comes to on MNIST: rounds to a target, policy and diagnosis in figures.

By rounds without provenance (`ml.federated.plain`), which give the weights of the whole system bit
for bit.
"""
