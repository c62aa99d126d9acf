"""Declared conventions of other evaluation tools, so that differences can be explained.

The formulas are ours: the tools agree on them (and are the oracles of the tests); they differ in
the rules.
"""
