"""Set-up, other EVM nodes, proofs, and commands that start quickly."""
