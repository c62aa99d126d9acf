"""Conventions of other evaluation tools, to explain differences between numbers.

All values are computed with Rankstone's formulas: the tools agree on the formulas (and are the
oracles of the tests), and differ only in conventions.
"""
