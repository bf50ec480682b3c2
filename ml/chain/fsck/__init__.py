"""Holding against each other what is kept in several places: on chain and off it.

Each check reads both of its sides whole and changes nothing but what bringing an index up to date
changes. What it finds are disagreements; that there are none says that what is kept fits together,
not that a validator told the truth.
"""
