"""Definitions against MTEB's registry and statistics (make_mteb_tasks.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rankstone.specs import TaskSpec
from rankstone.workspace import Workspace

PLACE = Workspace.find(Path(__file__).parents[2])
GOLDEN = json.loads(Path(__file__).with_name("mteb_tasks.json").read_text(encoding="ascii"))
REGISTRY: dict[str, dict[str, Any]] = GOLDEN["tasks"]
MEASURES = {"ndcg_at_1": "nDCG@1", "ndcg_at_10": "nDCG@10", "recall_at_1": "R@1",
            "hit_rate_at_5": "Success@5"}  # fmt: skip
LICENCES = {"cc-by-4.0": "CC-BY-4.0", "cc-by-sa-4.0": "CC-BY-SA-4.0", "mit": "MIT",
            "cc-by-sa-3.0": "CC-BY-SA-3.0", "apache-2.0": "Apache-2.0",
            "cc-by-nc-sa-3.0": "CC-BY-NC-SA-3.0", "not specified": "not stated"}  # fmt: skip
NANO = {"dbpedia-entity": "DBPedia", "climate-fever": "ClimateFever", "arguana": "ArguAna",
        "fever": "FEVER", "fiqa": "FiQA2018", "hotpotqa": "HotpotQA", "msmarco": "MSMARCO",
        "nfcorpus": "NFCorpus", "nq": "NQ", "quora": "Quora", "scidocs": "SCIDOCS",
        "scifact": "SciFact", "webis-touche2020": "Touche2020"}  # fmt: skip
LANGUAGES = {"ar": "arabic", "bn": "bengali", "en": "english", "fi": "finnish", "id": "indonesian",
             "ja": "japanese", "ko": "korean", "ru": "russian", "sw": "swahili", "te": "telugu",
             "th": "thai"}  # fmt: skip
SAME = {"beir/arguana": "ArguAna", "beir/cqadupstack/gaming": "CQADupstackGamingRetrieval",
        "beir/cqadupstack/unix": "CQADupstackUnixRetrieval", "mteb/fiqa": "FiQA2018",
        "beir/scidocs": "SCIDOCS", "beir/trec-covid": "TRECCOVID"}  # fmt: skip
"""Tasks whose data is BEIR's, with MTEB's name of them."""


def family(name: str) -> dict[str, TaskSpec]:
    return {n: t for n, t in PLACE.tasks.items() if n.startswith(f"{name}/")}


def of_hub(task: TaskSpec) -> tuple[str, str]:
    """Return MTEB's name of the task of a hub repository, and the key of its statistics."""
    source = task.source
    table = source.get("corpus", "").partition("/")[0] or None
    [name] = [
        name
        for name, facts in REGISTRY.items()
        if facts["dataset"]["path"] == source["repository"]
        and facts["dataset"].get("name") == table
    ]
    return name, "/".join(filter(None, (_split(task, name), source.get("language"))))


def _split(task: TaskSpec, name: str) -> str:
    length = task.name.rpartition("/")[2]
    own = f"test_{length}"
    return own if own in REGISTRY[name]["splits"] else REGISTRY[name]["splits"][0]


HUB = {name: of_hub(task) for name, task in PLACE.tasks.items() if task.loader == "hub"}
"""Task -> MTEB's name, and the key of its statistics."""


def theirs(statistics: dict[str, int]) -> dict[str, int]:
    counts = {"documents": statistics["documents"], "queries": statistics["queries"]}
    if statistics["fewest"] == statistics["most"] == 1:
        counts["judgements"] = statistics["queries"]
    return counts


@pytest.mark.parametrize("name", HUB)
def test_tasks_of_the_hub_are_those_of_the_registry(name: str) -> None:
    task, (known, key) = PLACE.tasks[name], HUB[name]
    facts = REGISTRY[known]
    assert task.source["revision"] == facts["dataset"]["revision"]
    assert task.headline == MEASURES[facts["main_score"]]
    assert task.licence == LICENCES[facts["licence"]]
    assert (task.self_hits == "drop") == facts["drops_self_hits"]
    assert task.counts.model_dump(exclude_none=True) == theirs(facts["statistics"][key])


def test_suites_hold_mtebs_tasks() -> None:
    for suite, benchmark in (("coir", "CoIR"), ("mteb-eng-v2", "MTEB(eng, v2)")):
        tasks = PLACE.suites[suite].tasks
        assert {SAME.get(t) or HUB[t][0] for t in tasks} == set(GOLDEN["suites"][benchmark])
    long = [s.tasks for n, s in PLACE.suites.items() if n.startswith("longembed-")]
    assert {HUB[t][0] for tasks in long for t in tasks} == set(GOLDEN["suites"]["LongEmbed"])
    nano = {f"Nano{NANO[t.removeprefix('nano-beir/')]}Retrieval" for t in family("nano-beir")}
    assert nano == set(GOLDEN["suites"]["NanoBEIR"])


def test_what_mteb_scores_on_beirs_data_is_scored_by_its_rule() -> None:
    for ours, name in SAME.items():
        task, facts = PLACE.tasks[ours], REGISTRY[name]
        assert (task.self_hits == "drop") == facts["drops_self_hits"], ours
        counts = task.counts.model_dump(include={"documents", "queries"})
        statistics = facts["statistics"]["test"]
        assert counts == {key: statistics[key] for key in counts}
    full = PLACE.tasks["beir/fiqa"]
    own = PLACE.tasks["mteb/fiqa"]
    assert (own.source, own.loader, own.dataset) == (full.source, full.loader, full.dataset)


def test_samples_of_beir_are_also_mtebs() -> None:
    for name, task in family("nano-beir").items():
        facts = REGISTRY[f"Nano{NANO[name.removeprefix('nano-beir/')]}Retrieval"]
        statistics = facts["statistics"]["train"]
        found = (statistics["documents"], statistics["queries"], statistics["relevant"])
        assert found == tuple(task.counts.model_dump().values()), name
        assert task.self_hits == "keep"
        assert not facts["drops_self_hits"]
        assert task.licence == LICENCES[facts["licence"]]


def test_bright_is_also_mtebs_but_for_its_version() -> None:
    for name, task in family("bright").items():
        *long, stem = name.removeprefix("bright/").split("/")
        words = "".join(word[:1].upper() + word[1:] for word in stem.split("-"))
        title = words.replace("Theoremqa", "TheoremQA")
        facts = REGISTRY[f"Bright{title}{'Long' if long else ''}Retrieval"]
        [statistics] = facts["statistics"].values()
        assert statistics["documents"] == task.counts.documents, name
        assert statistics["queries"] == task.counts.queries or "theoremqa" in stem, name
        assert statistics["relevant"] == task.counts.judgements or not long, name
        assert task.headline == MEASURES[facts["main_score"]]
        assert task.licence == LICENCES[facts["licence"]]


def test_languages_and_topics_have_mtebs_numbers() -> None:
    for ours, name, key in (
        *((f"miracl/{x.rpartition('/')[2]}", "MIRACLRetrieval", f"dev/{x.rpartition('/')[2]}")
          for x in family("miracl")),
        *((f"mr-tydi/{x}", "MrTidyRetrieval", f"test/{y}") for x, y in LANGUAGES.items()
          if x != "ja"),
        *((f"lotte/{kind}/{topic}", "LoTTE", f"test/{topic}_{kind}")
          for kind in ("search", "forum")
          for topic in ("writing", "recreation", "science", "technology", "lifestyle")),
    ):  # fmt: skip
        task, facts = PLACE.tasks[ours], REGISTRY[name]
        statistics = facts["statistics"][key]
        assert (statistics["documents"], statistics["queries"]) == (
            task.counts.documents, task.counts.queries,
        ), ours  # fmt: skip
        assert statistics["relevant"] <= (task.counts.judgements or 0)
        assert task.licence == LICENCES[facts["licence"]]
        assert task.split == key.partition("/")[0]
    assert REGISTRY["LoTTE"]["main_score"] == "hit_rate_at_5"
    assert {task.headline for task in family("lotte").values()} == {"Success@5"}
