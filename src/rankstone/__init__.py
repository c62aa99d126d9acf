"""Rankstone: the harness that retrieval research is measured with."""

__version__ = "0.1.0"
