"""Definitions of public benchmarks, against published facts."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path
from typing import Any

import pytest

from rankstone.benchmarks.dataset import Sources
from rankstone.benchmarks.loaders.beir_zip import in_ir_datasets
from rankstone.benchmarks.loaders.irds import document_converter, query_converter
from rankstone.benchmarks.store import find_raw, open_dataset
from rankstone.errors import DataError, DefinitionError
from rankstone.evaluation.measure_names import parse
from rankstone.specs import TaskSpec
from rankstone.workspace import Workspace
from tests.unit.test_irds import probe

PLACE = Workspace.find(Path(__file__).parents[2])
TASKS = PLACE.tasks
ZIPPED = sorted(name for name, task in TASKS.items() if task.loader == "beir_zip")
IRDS = sorted(n for n, t in TASKS.items() if t.loader == "irds" and "by_hand" not in t.source)
# Table 1 of the BEIR paper (arXiv:2104.08663): test queries, documents, relevant documents a query
TABLE_1 = {
    "trec-covid": (50, 171_332, 493.5),
    "nfcorpus": (323, 3_633, 38.2),
    "bioasq": (500, 14_914_602, 4.7),
    "nq": (3_452, 2_681_468, 1.2),
    "hotpotqa": (7_405, 5_233_329, 2.0),
    "fiqa": (648, 57_638, 2.6),
    "signal1m": (97, 2_866_316, 19.6),
    "trec-news": (57, 594_977, 19.6),
    "robust04": (249, 528_155, 69.9),
    "arguana": (1_406, 8_674, 1.0),
    "webis-touche2020": (49, 382_545, 19.0),
    "cqadupstack": (13_145, 457_199, 1.4),
    "quora": (10_000, 522_931, 1.6),
    "dbpedia-entity": (400, 4_635_922, 38.2),
    "scidocs": (1_000, 25_657, 4.9),
    "fever": (6_666, 5_416_568, 1.2),
    "climate-fever": (1_535, 5_416_593, 3.0),
    "scifact": (300, 5_183, 1.1),
    "msmarco-dev": (6_980, 8_841_823, 1.1),
}
PRIVATE = ("bioasq", "signal1m", "trec-news", "robust04")
# Every judged document is relevant. (CQADupStack's 23,703 judgements are 1.8 a query, and not the
# table's 1.4.)
BINARY = ("nq", "hotpotqa", "fiqa", "arguana", "quora", "fever", "climate-fever", "scifact",
          "msmarco-dev", "nfcorpus")  # fmt: skip


def tasks_of(stem: str) -> list[TaskSpec]:
    return [task for name, task in TASKS.items() if name == f"beir/{stem}"] or [
        task for name, task in TASKS.items() if name.startswith(f"beir/{stem}/")
    ]


@pytest.mark.parametrize("stem", TABLE_1)
def test_beir_has_the_sizes_of_its_paper(stem: str) -> None:
    queries, documents, relevant = TABLE_1[stem]
    counts = [task.counts for task in tasks_of(stem)]
    assert sum(c.documents or 0 for c in counts) == documents
    assert sum(c.queries or 0 for c in counts) == queries
    if stem in BINARY:
        assert round(sum(c.judgements or 0 for c in counts) / queries, 1) == relevant


def test_self_hits_are_dropped_where_queries_are_documents() -> None:
    dropping = {name for name, task in TASKS.items() if task.self_hits == "drop"}
    mtebs = {"mteb/fever-hard-negatives", "mteb/fiqa"}  # by its rule, where no query is a document
    assert dropping == {"beir/arguana", "beir/quora", *mtebs}


def test_labels_of_trec_dl_passages_count_from_two() -> None:
    strict = {name: task.relevance for name, task in TASKS.items() if task.relevance != 1}
    pools = {"filtered/dl-pool-0.1", *(f"msmarco/dl-pool{part}" for part in ("", "-19", "-20"))}
    judged = {f"msmarco/dl{year}-judgements" for year in (19, 20)}
    judged |= {f"msmarco-v2/dl{year}-judgements" for year in (21, 22, 23)}
    passages = {f"msmarco/trec-dl-{year}" for year in (2019, 2020)}
    passages |= {f"msmarco-v2/trec-dl-{year}" for year in (2021, 2022, 2023)}
    assert strict == dict.fromkeys(passages | pools | judged, 2)


def test_capped_recall_stands_beside_recall() -> None:
    capped = {name for name, task in TASKS.items() if "R_cap@100" in task.measures}
    assert capped == {"beir/trec-covid"}
    assert "R@100" in TASKS["beir/trec-covid"].measures


def test_measures_can_be_computed() -> None:
    for measure in {measure for task in TASKS.values() for measure in task.measures}:
        parse(measure)


def test_licence_and_terms_are_stated_and_change_no_digest() -> None:
    for name, task in TASKS.items():
        assert task.licence, name
        assert len(task.terms) > 20, name
        silent = task.model_copy(update={"licence": "", "terms": ""})
        assert silent.digest() == task.digest()


def test_trec_dl_documents_have_the_official_average_precision() -> None:
    """Craswell et al., arXiv:2003.07820 and 2102.07662: documents are ranked to depth 100."""
    family = [t for name, t in TASKS.items() if name.startswith(("msmarco-doc/", "msmarco-v2-doc"))]
    graded = [task for task in family if "dev" not in task.split]
    assert len(graded) == 2 + 2 * 3
    assert all("AP@100" in t.measures and "AP" not in t.measures for t in graded)


@pytest.mark.usefixtures("library")
def test_the_train_split_is_declared(tmp_path: Path) -> None:
    sources = Sources(data=None, cache=tmp_path / "cache")
    for name in (*ZIPPED, *IRDS):
        task = TASKS[name]
        splits = list(find_raw(task, sources).splits())
        assert {task.split, task.train_split or task.split} <= set(splits), name
    assert not sources.cache.exists()


@pytest.mark.parametrize("stem", PRIVATE)
@pytest.mark.parametrize("named", [True, False])
def test_collections_that_are_not_public_say_how(stem: str, named: bool, tmp_path: Path) -> None:
    task = TASKS[f"beir/{stem}"]
    data = tmp_path / "data" if named else None
    with pytest.raises(DataError) as caught:
        open_dataset(task, Sources(data=data, cache=tmp_path))
    place = f"{data or 'DIR'}/beir/{stem}/"
    for part in ("not public", "http", "qrels/test.tsv", place, "--data DIR"):
        assert part in str(caught.value)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IR_DATASETS_SMALL_FILE_SIZE", "0")
    return pytest.importorskip("ir_datasets")


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("name", ZIPPED)
def test_ir_datasets_has_beirs_sets_from_the_same_files(name: str, tmp_path: Path) -> None:
    source = TASKS[name].source
    file, folder = source["archive"], source.get("inside", source["archive"])
    id, file = source.get("irds_id", f"beir/{folder}"), source.get("irds_file", file)
    assert in_ir_datasets(Sources(data=None, cache=tmp_path), id, file, source["md5"])
    single = len(source["splits"]) == 1
    ids = {s: id if single else f"{id}/{s}" for s in source["splits"]}
    check_counts(TASKS[name], id, ids)


def families(*names: str) -> list[str]:
    return [name for name in IRDS if name.startswith(tuple(f"{family}/" for family in names))]


@pytest.mark.parametrize(
    "names", [families("msmarco", "msmarco-doc", "msmarco-v2", "msmarco-v2-doc"),
              families("nano-beir"), families("bright"), families("lotte"), families("miracl"),
              families("mr-tydi")],
)  # fmt: skip
def test_ir_datasets_has_the_ids_and_files(names: list[str], library: Any) -> None:
    assert len(names) >= 9
    for name in names:
        source = TASKS[name].source
        splits = source.get("splits", {"test": source["id"]})
        files = source.get("files", {})
        listed = library.util.DownloadConfig.contents()[source["id"].partition("/")[0]]
        for pattern in (pattern for of in files.values() for pattern in of):
            named = fnmatch.filter(listed, pattern)
            assert named, name
            assert all(listed[file]["expected_md5"] for file in named)
        assert set(files) <= {"documents", "queries", *splits}
        assert all(library.load(id).has_queries() for id in splits.values())
        check_counts(TASKS[name], source["id"], splits)


def test_templates_lose_no_text_of_the_documents(library: Any) -> None:
    for name in IRDS:
        kind = library.load(TASKS[name].source["id"]).docs_cls()
        record = probe(kind, "x")
        document = document_converter(kind)(record)
        text = TASKS[name].text.format(title=document.title, text=document.text)
        stated = record.default_text() if hasattr(kind, "default_text") else record.text
        assert text.split() == stated.split(), name


def test_the_families_are_whole(library: Any) -> None:
    for family, ids in (
        ("nano-beir", r"nano-beir/[\w-]+"),
        ("bright", r"bright/[\w-]+"),
        ("lotte", r"lotte/\w+/test/\w+"),
        ("miracl", r"miracl/\w+/dev"),
        ("mr-tydi", r"mr-tydi/\w+/test"),
    ):
        there = {id for id in library.registry if re.fullmatch(ids, id)}
        assert {judged_id(TASKS[name]) for name in families(family)} == there


def judged_id(task: TaskSpec) -> str:
    """Return the id of ir_datasets that holds the task's judgements."""
    return str(task.source.get("splits", {}).get(task.split, task.source["id"]))


def test_judgements_of_trec_dl_alone_are_those_of_the_runs(library: Any) -> None:
    qrels = {name: task for name, task in TASKS.items() if task.loader == "qrels"}
    alone = {name: task for name, task in qrels.items() if "irds_id" in task.source}
    assert len(alone) == 6
    for name, task in alone.items():
        id, listed = task.source["irds_id"], task.source["listed"]
        assert library.util.DownloadConfig.contents()[id.partition("/")[0]][listed]["expected_md5"]
        whole = TASKS[name.replace("/dl", "/trec-dl-20").removesuffix("-judgements")]
        assert whole.source["splits"][whole.split] == id
        assert whole.counts.model_copy(update={"documents": None}) == task.counts
        same = ("relevance", "measures", "headline")
        assert [getattr(task, key) for key in same] == [getattr(whole, key) for key in same]


def test_headlines_are_the_official_measures() -> None:
    """As ir_datasets names them, but for two: BRIGHT's long documents have R@1 in the paper and in
    MTEB, and the dev queries of MS MARCO v2 RR@100 in the reference runs of Anserini."""
    import ir_datasets

    stated = 0
    for name in IRDS:
        task = TASKS[name]
        official = ir_datasets.load(judged_id(task)).documentation().get("official_measures", [])
        own = {"long": "Success@1", "dev1": "RR@10", "dev2": "RR@10"}
        expected = next((own[part] for part in name.split("/") if part in own), task.headline)
        if name == "msmarco-doc/dev":  # a measure of the leaderboard, at another depth
            expected = "RR@10"
        stated += bool(official)
        assert not official or expected in official, name
    assert stated > 40


def check_counts(task: TaskSpec, id: str, ids: dict[str, str]) -> None:
    """Check that the counts agree with the metadata of ir_datasets."""
    import ir_datasets

    own, split = ir_datasets.load(id).metadata(), ir_datasets.load(ids[task.split]).metadata()
    assert task.counts.documents == own["docs"]["count"], task.name
    assert task.counts.judgements == split["qrels"]["count"], task.name
    if "trec-dl" in ids[task.split]:
        split = ir_datasets.load(f"{ids[task.split]}/judged").metadata()
    assert task.counts.queries == split["queries"]["count"], task.name
    assert ir_datasets.load(ids[task.split]).has_qrels()


def test_short_names_are_those_of_the_full_sets() -> None:
    assert PLACE.task("scifact").name == "beir/scifact"
    assert PLACE.task("stackoverflow").name == "loco/stackoverflow"
    assert PLACE.task("nano-beir/scifact").name == "nano-beir/scifact"
    assert PLACE.task("yo").name == "miracl/yo"
    with pytest.raises(DefinitionError, match="'ar' is ambiguous: miracl/ar, mr-tydi/ar"):
        PLACE.task("ar")


def test_robust04_is_read_from_the_disks_as_beir_read_it(library: Any, tmp_path: Path) -> None:
    """examples/dataset of beir-cellar/beir: `trec-robust04` of ir_datasets, and descriptions."""
    task, data = TASKS["beir/robust04"], library.load("trec-robust04")
    assert task.counts.documents == data.metadata()["docs"]["count"]
    listed = library.util.DownloadConfig.contents()["trec-robust04"]["docs"]
    assert task.source["by_hand"] == listed["cache_path"]
    disks = library.util.home_path() / "trec-robust04" / listed["cache_path"]
    sources = Sources(data=None, cache=tmp_path)
    with pytest.raises(DataError, match=f"Put the files in {disks}"):
        find_raw(task, sources)
    disks.mkdir(parents=True)
    assert list(find_raw(task, sources).splits()) == ["test"]
    topic = data.queries_cls()("301", "a title", "a description", "a narrative")
    assert query_converter(type(topic), task.source["query"])(topic).text == "a description"
    with pytest.raises(DefinitionError, match=r"has no field 'descripton'. Did you mean: desc"):
        query_converter(type(topic), "descripton")


@pytest.mark.parametrize("name", ["dl19", "nothing-of-the-kind"])
def test_the_error_for_an_unresolved_name_lists_the_forms_of_tasks(name: str) -> None:
    with pytest.raises(DefinitionError, match=r"[^.]\. A task may also be a folder in BEIR layout"):
        PLACE.task(name)
