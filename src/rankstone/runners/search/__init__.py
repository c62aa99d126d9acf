"""Search algorithms over any encoder's representations, one adapter per file.

A method names the encoder as its only member and the algorithm as its adapter, so that each can be
chosen independently; see `rankstone.runners.search.base`.
"""
