"""The definitions of public benchmarks, against what others publish of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rankstone.benchmarks.dataset import Sources
from rankstone.benchmarks.loaders.beir_zip import in_ir_datasets
from rankstone.benchmarks.store import find_raw, open_dataset
from rankstone.errors import DataError, DefinitionError
from rankstone.evaluation.measure_names import parse
from rankstone.specs import TaskSpec
from rankstone.workspace import Workspace

PLACE = Workspace.find(Path(__file__).parents[2])
TASKS = PLACE.tasks
ZIPPED = sorted(name for name, task in TASKS.items() if task.loader == "beir_zip")
IRDS = sorted(name for name, task in TASKS.items() if task.loader == "irds")
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
    assert dropping == {"beir/arguana", "beir/quora"}


def test_labels_of_trec_dl_passages_count_from_two() -> None:
    strict = {name for name, task in TASKS.items() if task.relevance != 1}
    pools = {"msmarco/dl-pool", "msmarco/dl-pool-19", "msmarco/dl-pool-20"}
    judged = {"msmarco/dl19-judgements", "msmarco/dl20-judgements"}
    assert strict == {"msmarco/trec-dl-2019", "msmarco/trec-dl-2020", *pools, *judged}


def test_capped_recall_stands_beside_recall() -> None:
    capped = {name for name, task in TASKS.items() if "R_cap@100" in task.measures}
    assert capped == {"beir/trec-covid"}
    assert "R@100" in TASKS["beir/trec-covid"].measures


@pytest.mark.parametrize("name", sorted(TASKS))
def test_measures_can_be_computed(name: str) -> None:
    task = TASKS[name]
    assert task.headline in task.measures
    for measure in task.measures:
        parse(measure)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_licence_and_terms_are_stated_and_change_no_digest(name: str) -> None:
    task = TASKS[name]
    assert task.licence
    assert len(task.terms) > 20
    silent = task.model_copy(update={"licence": "", "terms": ""})
    assert silent.digest() == task.digest()


def test_trec_dl_documents_have_the_official_average_precision() -> None:
    """Craswell et al., arXiv:2003.07820 and 2102.07662: documents are ranked to depth 100."""
    family = {name: t for name, t in TASKS.items() if name.startswith("msmarco-doc/")}
    assert len(family) == 3
    assert all("AP@100" in t.measures and "AP" not in t.measures for t in family.values())


@pytest.mark.parametrize("name", [*ZIPPED, *IRDS])
def test_the_train_split_is_declared(name: str, tmp_path: Path) -> None:
    task = TASKS[name]
    splits = list(find_raw(task, Sources(data=None, cache=tmp_path)).splits())
    assert {task.split, task.train_split or task.split} <= set(splits)
    assert not any(tmp_path.iterdir())


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


@pytest.mark.parametrize("name", IRDS)
def test_ir_datasets_has_the_ids_and_files(name: str, library: Any) -> None:
    source = TASKS[name].source
    listed = library.util.DownloadConfig.contents()[source["id"]]
    named = {file for files in source["files"].values() for file in files}
    assert named <= set(listed)
    assert set(source["files"]) <= {"documents", "queries", *source["splits"]}
    assert all(listed[file]["expected_md5"] for file in named)
    assert all(library.load(id).has_queries() for id in source["splits"].values())
    check_counts(TASKS[name], source["id"], source["splits"])


def check_counts(task: TaskSpec, id: str, ids: dict[str, str]) -> None:
    """Its counts are those of the metadata that ir_datasets ships."""
    import ir_datasets

    own, split = ir_datasets.load(id).metadata(), ir_datasets.load(ids[task.split]).metadata()
    assert task.counts.documents == own["docs"]["count"]
    assert task.counts.judgements == split["qrels"]["count"]
    if "trec-dl" in ids[task.split]:
        split = ir_datasets.load(f"{ids[task.split]}/judged").metadata()
    assert task.counts.queries == split["queries"]["count"]
    assert ir_datasets.load(ids[task.split]).has_qrels()


@pytest.mark.parametrize("name", ["dl19", "nothing-of-the-kind"])
def test_a_name_that_cannot_be_resolved_says_what_else_a_task_may_be(name: str) -> None:
    with pytest.raises(DefinitionError, match=r"[^.]\. A task may also be a folder in BEIR layout"):
        PLACE.task(name)
