"""How the tests are spread over processes: what shares expensive fixtures stays together."""

from __future__ import annotations

import re

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

LONGEST = (
    "tests/conformance/test_runners.py",
    "tests/end_to_end/test_ray.py",
    "tests/end_to_end/test_gate_catches.py",
    "tests/end_to_end/test_cells.py",
    "tests/unit/test_engines.py",
    "tests/end_to_end/test_real_collections.py",
    "tests/end_to_end/test_gate_workflow.py",
    "tests/end_to_end/test_gate_is_quiet.py",
    "tests/unit/test_sparse.py",
    "tests/unit/test_dense.py",
    "tests/unit/test_checkpoints.py",
    "tests/unit/search/test_code_index.py",
    "tests/unit/search/test_faiss.py",
    "tests/unit/test_training_systems.py",
    "tests/unit/test_recipes.py",
    "tests/unit/test_training_losses.py",
    "tests/unit/test_site.py",
)
"""The files that take longest, which run first: what runs last should be short."""

SUBJECT = re.compile(r"(tests/conformance/test_runners\.py)::\w+\[([\w.-]+)/")
"""A test of one definition; those of a family are a unit of their own."""


def unit(nodeid: str) -> str:
    """The name of what a process runs as a whole: a file, or the family of a definition."""
    subject = SUBJECT.match(nodeid)
    return "::".join(subject.groups()) if subject else nodeid.partition("::")[0]


def longest_first(items: list[pytest.Item]) -> None:
    """Sort tests by the rank of their file, otherwise as they were collected."""
    rank = {file: number for number, file in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0], len(rank)))


class ByUnit(LoadScopeScheduling):
    """Hand out whole units, in the order of the tests."""

    def __init__(self, config: pytest.Config, log: object = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)
