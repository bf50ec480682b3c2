"""The event index: what the contracts on one chain said, in a database that follows the chain.

It is derived from the chain alone and can be made again at any time. What is read from it is
believed as far as what a node says: histories are held against the heads on chain.
"""
