"""Folds of a split: a balanced partition that depends only on ids; and training functions."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankstone.benchmarks.dataset import Sources
from rankstone.benchmarks.folds import Pairs, folds_of, in_fold
from rankstone.benchmarks.loaders import packages, stdlib
from rankstone.benchmarks.store import open_dataset
from rankstone.errors import DataError, DefinitionError
from rankstone.specs import TaskSpec
from rankstone.workspace import Workspace
from tests.conftest import ROOT

pairs = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 14)), unique=True)


def task(by: str, number: int, k: int) -> Any:
    return SimpleNamespace(fold=(number, k), folds_by=by)


@given(pairs, st.sampled_from(["queries", "documents", "titles"]), st.randoms())
def test_folds_part_the_queries_and_keep_groups_together(found: Any, by: str, random: Any) -> None:
    ids = [f"q{number}" for number in range(10)]
    titles = [f"title {document // 5}" if document < 10 else "" for document in range(15)]

    def folds(order: list[int]) -> dict[str, int]:
        place = {query: row for row, query in enumerate(order)}
        rows = Pairs(
            np.array([place[query] for query, _ in found], dtype=np.int64),
            np.array([document for _, document in found], dtype=np.int64),
        )
        masks = [
            in_fold(task(by, n, 2), [ids[q] for q in order], rows, lambda p: [titles[i] for i in p])
            for n in (1, 2)
        ]
        assert (masks[0] ^ masks[1]).all()
        return {ids[query]: int(masks[1][row]) for row, query in enumerate(order)}

    order = list(range(10))
    try:
        first = folds(order)
    except DataError:
        return  # all queries are one group
    random.shuffle(order)
    assert folds(order) == first
    keys = {"documents": lambda d: d, "titles": lambda d: titles[d] or None}
    for (one, left), (two, right) in combinations(found, 2):
        key = keys.get(by)
        if key and key(left) is not None and key(left) == key(right):
            assert first[ids[one]] == first[ids[two]]
    if by == "queries":
        assert sum(first.values()) == 5


def test_folds_of_equal_size_and_too_few_groups() -> None:
    ids = [f"q{n}" for n in range(103)]
    sizes = np.bincount(folds_of(np.arange(103), ids, 5))
    assert sizes.max() - sizes.min() <= 1
    with pytest.raises(DataError, match="3 folds of 103 queries in 2 groups"):
        folds_of(np.arange(103) % 2, ids, 3)


def test_a_fold_has_its_own_name_and_digest() -> None:
    cranfield = Workspace.find(ROOT).task("classic/cranfield")
    fold = cranfield.cut(["fold2of5", "k20"])
    assert (fold.name, fold.fold, fold.train_split) == (
        "classic/cranfield@fold2of5@k20", (2, 5), "test",
    )  # fmt: skip
    assert fold.digest() != cranfield.limited(depth=20).digest()
    by = {"folds_by": "titles"}
    assert cranfield.model_copy(update=by).digest() == cranfield.digest()
    assert fold.model_copy(update=by).digest() != fold.digest()
    for wrong in (["fold6of5"], ["fold1of1"], ["fold1of2", "fold1of2"], ["fold0of2"]):
        with pytest.raises(DefinitionError, match=r"@fold1of5"):
            cranfield.cut(wrong)


def test_folds_of_cranfield_and_squad(data_folder: Path, tmp_path: Path) -> None:
    """Every query is tested in one fold and trained on in the others; articles are not split."""
    sources, space = Sources(data=data_folder, cache=tmp_path), Workspace.find(ROOT)
    whole = open_dataset(space.task("classic/cranfield"), sources)
    asked = []
    for number in range(1, 4):
        fold = open_dataset(space.task(f"classic/cranfield@fold{number}of3"), sources)
        assert {*fold.query_texts} | {*fold.train_queries} == {*whole.query_texts}
        assert len(fold.judgements.query) + len(fold.train_judgements.query) == len(
            whole.judgements.query[whole.judgements.document >= 0]
        )
        asked += fold.query_ids
    assert sorted(asked) == sorted(whole.query_ids)
    squad = open_dataset(space.task("nq/squad-dev@fold1of4"), sources)
    table: Any = squad.corpus._table  # type: ignore[attr-defined]
    judged = (squad.judgements, squad.train_judgements)
    asked_of, learnt_of = (set(table.take("title", np.unique(one.document))) for one in judged)
    assert "" not in asked_of | learnt_of
    assert asked_of
    assert learnt_of
    assert not asked_of & learnt_of


FUNCTIONS = """
    def alone(x):
        "Return the largest of all given numbers."
        return max(x)
    def copied(x):
        "Copied from the standard library with care."
        return x + 1
    def reworded(x):
        "Count the words of a line of text."
        return len(x.split())
    def twin(x):
        "Return the largest of all numbers, again."
        return max(x)
"""
STANDARD = """
    def copied(x):
        "Add one to a number and return the sum."
        return  x + 1
    def other(x):
        "Count the words of  a line of text."
        return x.count(" ")
"""


def test_functions_of_packages_leave_out_those_of_the_test(
    tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "site" / "mine" / "tests").mkdir(parents=True)
    (tmp_path / "standard").mkdir()
    for name in ("__init__.py", "tests/test_it.py"):
        (tmp_path / "site" / "mine" / name).write_text(dedent(FUNCTIONS))
    (tmp_path / "standard" / "mod.py").write_text(dedent(STANDARD))
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(packages, "version", {"mine": "1.0"}.__getitem__)
    spec = TaskSpec(name="p/f", description="", dataset="p/f", loader="packages")
    unused = Sources(data=None, cache=Path("unused"))
    raw = packages.load(spec, unused, packages={"mine": "mine"}, apart=str(tmp_path / "standard"))
    assert [d.id for d in raw.documents()] == ["mine.alone", "mine.twin"]
    splits = {split: [j.document for j in raw.judgements(split)] for split in raw.splits()}
    assert sorted([*splits["test"], *splits["train"]]) == ["mine.alone", "mine.twin"]
    monkeypatch.setattr(packages, "version", {"mine": "1.1"}.__getitem__)
    newer = packages.load(spec, unused, packages={"mine": "mine"}, apart=str(tmp_path / "standard"))
    assert newer.fingerprint != raw.fingerprint
    assert "mine 1.1" in newer.source
    monkeypatch.undo()
    with pytest.raises(DataError, match="the package 'absent' is not installed"):
        packages.load(spec, unused, packages={"absent": "absent"})


def test_a_twentieth_of_the_functions_is_the_test_split() -> None:
    drawn = [packages.split_of(f"package.module.function_{n}") for n in range(4000)]
    assert 150 < drawn.count("test") < 250
    assert stdlib.split_of("a") in ("train", "test")
