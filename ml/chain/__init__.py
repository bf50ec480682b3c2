"""The registry's vocabulary, its policy, and the clients that talk to it.

Importing this package imports nothing else; ``types`` and ``policy`` are pure and need no Ape.
"""
