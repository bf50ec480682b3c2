"""The Python that does the work: identities, storage, chain clients, training, audit.

Folders import downwards only: artifact, storage, chain, training, federated, audit, web.
"""
