"""Search algorithms over the representations of any encoder: one adapter per file.

A method names the encoder as its only member and the algorithm as its adapter, so that both are
chosen apart; see `rankstone.runners.search.base`.
"""
