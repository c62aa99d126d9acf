"""Suites: their members, and the means that are commonly reported over them."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pytest

from rankstone.errors import DefinitionError, ResultsError
from rankstone.leaderboards.formats.render import render
from rankstone.leaderboards.pages.suite import page
from rankstone.leaderboards.suites import suite_means
from rankstone.results.record import Measure, Provenance, RunRecord
from rankstone.specs import SuiteSpec, load_suites
from rankstone.workspace import Workspace
from tests.records import make_record

ROOT = Path(__file__).parents[2]
PLACE = Workspace.find(ROOT)
ZERO_SHOT = ("trec-covid", "nfcorpus", "nq", "hotpotqa", "fiqa", "arguana", "webis-touche2020",
             "quora", "dbpedia-entity", "scidocs", "fever", "climate-fever", "scifact")  # fmt: skip
FORUMS = ("android", "english", "gaming", "gis", "mathematica", "physics", "programmers", "stats",
          "tex", "unix", "webmasters", "wordpress")  # fmt: skip
# nDCG@10 in the order of ZERO_SHOT: Mamba Retriever 130M, README of 41924076/MambaRetriever
MAMBA = (0.5919, 0.2832, 0.3864, 0.5051, 0.2262, 0.4193, 0.1918,
         0.8605, 0.2814, 0.1350, 0.6275, 0.2113, 0.5509)  # fmt: skip
# Contriever, MS MARCO fine-tuned: Table 2 of arXiv:2112.09118, with CQADupStack's mean
CONTRIEVER = (0.596, 0.328, 0.498, 0.638, 0.329, 0.446, 0.230,
              0.865, 0.413, 0.165, 0.758, 0.237, 0.677)  # fmt: skip
CONTRIEVER_CQA = 0.345
# The same model's forums in Lucene's reproductions (pyserini 1.6.0, 2cr/beir.yaml)
CONTRIEVER_FORUMS = (0.4255, 0.4326, 0.5276, 0.3022, 0.2355, 0.4159, 0.3574, 0.3095,
                     0.2209, 0.3257, 0.3392, 0.2532)  # fmt: skip
# RetroMAE_BEIR: Table 3 of the RetroMAE-2 paper
RETROMAE = (0.772, 0.308, 0.518, 0.635, 0.316, 0.433, 0.237,
            0.847, 0.390, 0.150, 0.774, 0.232, 0.653)  # fmt: skip
RETROMAE_PRIVATE = {"bioasq": 0.421, "signal1m": 0.265, "trec-news": 0.428, "robust04": 0.447}
RETROMAE_CQA = 0.317


def test_every_task_of_a_suite_is_defined_and_has_its_measures() -> None:
    for name, suite in PLACE.suites.items():
        tasks = PLACE.expand(name)
        assert [task.name for task in tasks] == list(suite.tasks)
        assert all(set(suite.measures) <= set(task.measures) for task in tasks), name


def test_the_suites_are_those_of_the_field() -> None:
    sizes = {name: (len(s.members), len(s.tasks)) for name, s in PLACE.suites.items()}
    assert sizes == {
        "cqadupstack": (12, 12),
        "beir": (18, 29),
        "beir-14": (14, 25),
        "beir-13": (13, 13),
        "beir-small": (5, 5),
        "msmarco": (3, 3),
        "loco-v0": (5, 5),
        "loco-v1": (12, 12),
        "quick": (2, 2),
        "nano-beir": (13, 13),
        "bright": (12, 12),
        "bright-long": (8, 8),
        "msmarco-v2": (3, 3),
        "lotte-search": (6, 6),
        "lotte-forum": (6, 6),
        "miracl": (18, 18),
        "mr-tydi": (11, 11),
        "coir": (10, 20),
        "coir-codesearchnet": (6, 6),
        "coir-codesearchnet-ccr": (6, 6),
        "longembed-real": (4, 4),
        "longembed-needle": (8, 8),
        "longembed-passkey": (8, 8),
        "mteb-eng-v2": (10, 10),
    }


def test_the_quick_suite_needs_no_download() -> None:
    assert {task.loader for task in PLACE.expand("quick")} == {"stdlib"}


def test_suite_names_come_before_last_parts_of_tasks() -> None:
    assert len(PLACE.expand("msmarco")) == 3
    assert [task.name for task in PLACE.expand("beir/msmarco")] == ["beir/msmarco"]
    assert [task.name for task in PLACE.expand("cqadupstack/tex")] == ["beir/cqadupstack/tex"]
    with pytest.raises(DefinitionError, match="Did you mean"):
        PLACE.expand("beir-15")


def test_a_task_in_two_suites_runs_once() -> None:
    found = PLACE.named(["beir-small", "beir-13", "scifact", PLACE.task("scifact")])
    names = [task.name for task in found]
    assert len(names) == len(set(names)) == 13
    assert PLACE.named("quick") == PLACE.expand("quick")
    assert PLACE.single_names(["msmarco", "./mine"])[-2:] == [
        PLACE.suite("msmarco").tasks[-1],
        "./mine",
    ]
    with pytest.raises(DefinitionError, match="'msmarco' is a suite; one task is needed here"):
        PLACE.one_task("msmarco")


def record(task: str, value: float, **changes: object) -> RunRecord:
    figures = {"nDCG@10": Measure(mean=value, low=value, high=value, n=50)}
    return make_record(task=task, measures=figures, **changes)


def beir(values: tuple[float, ...]) -> list[RunRecord]:
    return [record(f"beir/{n}", v) for n, v in zip(ZERO_SHOT, values, strict=True)]


def forums(values: tuple[float, ...]) -> list[RunRecord]:
    names = [f"beir/cqadupstack/{forum}" for forum in FORUMS]
    return [record(n, v) for n, v in zip(names, values, strict=True)]


def mean(records: list[RunRecord], name: str) -> float:
    suite = PLACE.suites[name].model_copy(update={"measures": ("nDCG@10",)})
    (row,) = suite_means(records, suite).to_dict("records")
    assert row["missing"] == ""
    return float(row["nDCG@10"])


def test_means_are_the_published_ones() -> None:
    assert round(mean(beir(MAMBA), "beir-13"), 4) == 0.4054
    assert round(mean(forums(CONTRIEVER_FORUMS), "cqadupstack"), 3) == CONTRIEVER_CQA
    contriever = beir(CONTRIEVER) + forums(CONTRIEVER_FORUMS)
    assert round(mean(contriever, "beir-14"), 3) == 0.466
    private = [record(f"beir/{name}", value) for name, value in RETROMAE_PRIVATE.items()]
    retromae = beir(RETROMAE) + private + forums((RETROMAE_CQA,) * 12)
    assert round(mean(retromae, "beir"), 3) == 0.452


def test_forums_count_once_and_not_twelve_times() -> None:
    flat = [*CONTRIEVER, *CONTRIEVER_FORUMS]
    assert round(sum(flat) / len(flat), 3) != 0.466


def test_a_mean_is_refused_where_tasks_are_missing() -> None:
    suite = PLACE.suites["beir-14"]
    records = beir(CONTRIEVER) + forums(CONTRIEVER_FORUMS)[1:]
    failed = make_record(task="beir/cqadupstack/android", status="failed")
    frame = suite_means([*records, failed], suite)
    assert math.isnan(frame["nDCG@10"][0])
    assert (frame["tasks"][0], frame["of"][0], frame["data"][0]) == (0, 25, None)
    assert len(frame["missing"][0].split(", ")) == 25  # none of them has R@100
    only = suite.model_copy(update={"measures": ("nDCG@10",)})
    frame = suite_means(records, only)
    assert frame["missing"][0] == "beir/cqadupstack/android"
    assert (frame["tasks"][0], frame["of"][0]) == (24, 25)


def small() -> SuiteSpec:
    return SuiteSpec(name="s", description="", members=("a/x", "a/y"), measures=("nDCG@10",))


def test_rows_are_methods_as_they_are_defined_now_and_were_before() -> None:
    other = make_record("dense/wordllama-256").method
    changed = record("a/x", 0.9).method.model_copy(update={"digest": "f" * 64})
    records = [
        *(record(f"a/{n}", v) for n, v in (("x", 0.2), ("y", 0.4), ("elsewhere", 1.0))),
        *(record(f"a/{n}", v, method="dense/wordllama-256") for n, v in (("x", 0.5), ("y", 0.7))),
        record("a/x", 0.9).model_copy(update={"method": changed}),
    ]
    frame = suite_means(records, small())
    assert list(frame["method"]) == ["dense/wordllama-256", "lexical/bm25", "lexical/bm25"]
    assert frame["nDCG@10"][:2].tolist() == pytest.approx([0.6, 0.3])
    assert frame["version"][0] == other.digest[:8]
    assert (frame["version"][2], frame["missing"][2]) == ("ffffffff", "a/y")
    assert frame["data"][0] == frame["data"][1]


def test_the_newest_record_of_a_cell_counts() -> None:
    old, new = (
        Provenance(started="2025-01-01T00:00:00Z", finished=f"2025-01-01T0{n}:00:00Z")
        for n in (1, 2)
    )
    records = [
        record("a/x", 0.8, provenance=new),
        record("a/x", 0.1, provenance=old),
        record("a/y", 0.6),
    ]
    assert suite_means(records, small())["nDCG@10"].tolist() == pytest.approx([0.7])


def test_a_suite_that_the_field_does_not_average() -> None:
    with pytest.raises(ResultsError, match="'msmarco' has no mean"):
        suite_means([], PLACE.suites["msmarco"])
    assert len(suite_means([], small())) == 0


def test_means_are_the_same_in_every_format() -> None:
    frame = suite_means([record("a/x", 0.25), record("a/y", 0.5)], small())
    assert render(page(frame), "markdown").splitlines()[2] == (
        "| lexical/bm25 | .375 | 2 of 2 |  |"
    )
    assert json.loads(render(page(frame), "json"))[0]["nDCG@10"] == 0.375
    assert next(csv.DictReader(io.StringIO(render(page(frame), "csv"))))["of"] == "2"
    with pytest.raises(ResultsError, match=r"no format 'svgg'.*mean: svg"):
        render(page(frame), "svgg")


SUITE = '[suites.{name}]\ndescription = "d"\nmembers = {members}\n'


def suites(tmp_path: Path, **members: list[str]) -> dict[str, SuiteSpec]:
    path = tmp_path / "suites.toml"
    parts = (SUITE.format(name=n, members=json.dumps(m)) for n, m in members.items())
    path.write_text("".join(parts))
    return load_suites(path)


def test_member_suites_are_resolved(tmp_path: Path) -> None:
    found = suites(tmp_path, a=["b", "f/t"], b=["f/u", "f/t"])
    assert found["a"].members[0] == found["b"]
    assert found["a"].tasks == ("f/u", "f/t")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a": ["b"], "b": ["a"]}, "the suite contains itself"),
        ({"a": ["bb"], "bee": ["f/t"]}, "'bb' is not a suite"),
        ({"a": []}, "at least 1 item"),
    ],
)
def test_faults_of_suites_are_named(
    tmp_path: Path, members: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(DefinitionError, match=message) as caught:
        suites(tmp_path, **members)
    assert str(tmp_path / "suites.toml") in str(caught.value)


def test_an_unknown_task_of_a_suite_is_named(tmp_path: Path) -> None:
    (tmp_path / "runners").mkdir()
    (tmp_path / "benchmarks").mkdir()
    task = '[tasks.t]\ndescription = "d"\nloader = "m:f"\n'
    (tmp_path / "benchmarks" / "f.toml").write_text(task)
    suites(tmp_path / "benchmarks", a=["f/t", "f/tt"])
    place = Workspace.find(tmp_path)
    with pytest.raises(DefinitionError, match=r"the task 'f/tt' is not defined. Did you mean: f/t"):
        place.expand("a")
