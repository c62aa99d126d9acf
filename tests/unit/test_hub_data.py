"""Data sets in MTEB's layout, from a local hub."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from rankstone.benchmarks.dataset import Dataset, Sources
from rankstone.benchmarks.loaders.hub_tables import HubDataSet, Table
from rankstone.benchmarks.recorded_tasks import recorded_task
from rankstone.benchmarks.store import open_dataset
from rankstone.benchmarks.task_names import hub_label, named_by_user, task_of
from rankstone.catalogue import expanded
from rankstone.errors import DataError, DefinitionError, RankstoneError
from rankstone.results.selection import Selection
from rankstone.specs import TaskSpec
from rankstone.workspace import Workspace
from tests.hub_server import hub
from tests.records import make_record

constants = pytest.importorskip("huggingface_hub.constants")
COMMIT, OTHER = "1a2b3c4d" + "0" * 32, "5e6f7a8b" + "0" * 32
DOCUMENTS = [("d1", "Fox", "the quick fox"), ("d2", "", "a lazy dog"), ("d3", "Bird", "grey")]
QUERIES = [("q1", "fox?"), ("q2", "dog?"), ("q3", "unjudged")]
JUDGED = {"test": [("q1", "d1", 2), ("q2", "d2", 1)], "train": [("q3", "d3", 1)]}
CARD = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: qrels/train.jsonl
  - split: test
    path: qrels/test.jsonl
- config_name: corpus
  data_files:
  - split: corpus
    path: corpus.jsonl
- config_name: queries
  data_files:
  - split: queries
    path: queries.jsonl
---
"""


def rows(names: Sequence[str], values: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(names, value, strict=True)) for value in values]


def write(path: Path, found: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(found), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in found))


def write_lines(folder: Path, card: str | None = CARD) -> Path:
    """Write a data set like `mteb/scifact`: JSON Lines, all splits in one file of queries."""
    write(folder / "corpus.jsonl", rows(("_id", "title", "text"), DOCUMENTS))
    write(folder / "queries.jsonl", rows(("_id", "text"), QUERIES))
    for split, judged in JUDGED.items():
        found = rows(("query-id", "corpus-id", "score"), judged)
        found[0]["score"] = f"{found[0]['score']}"  # lines of JSON may hold any form of a number
        write(folder / "qrels" / f"{split}.jsonl", found)
    if card is not None:
        (folder / "README.md").write_text(card)
    return folder


def made_anew(folders: Path, card: str | None = CARD) -> Path:
    """Recreate the folder of `org/made`, with only the files of `write_lines`."""
    shutil.rmtree(folders / "made", ignore_errors=True)
    return write_lines(folders / "made", card)


def write_languages(folder: Path) -> Path:
    """Write a data set like MIRACL: Parquet tables per language, in several files, with renamed
    columns."""
    card = ["---", "configs:"]
    for language in ("de", "sw"):
        tables = {
            "corpus": rows(("docid", "title", "text"), DOCUMENTS),
            "queries": rows(("query_id", "query"), QUERIES),
            "qrels": rows(("query_id", "docid", "relevance"), JUDGED["test"]),
        }
        for what, found in tables.items():
            name = f"{language}-{what}"
            card += [f"- config_name: {name}", "  data_files:", "  - split: dev"]
            card.append(f"    path: {name}/dev-*")
            write(folder / name / "dev-00000-of-00002.parquet", found[:1])
            write(folder / name / "dev-00001-of-00002.parquet", found[1:])
    (folder / "README.md").write_text("\n".join([*card, "---"]))
    return folder


def write_beir(folder: Path) -> Path:
    write_lines(folder, None)
    (folder / ".gitattributes").touch()
    for split, judged in JUDGED.items():
        (folder / "qrels" / f"{split}.jsonl").unlink()
        lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in judged)]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("hub")
    write_lines(place / "lines")
    write_languages(place / "languages")
    write_beir(place / "beir")
    write_lines(place / "gated")
    (place / "gated" / "GATED").touch()
    return place


@pytest.fixture(scope="module")
def address(folders: Path) -> Iterator[str]:
    names = ("lines", "languages", "beir", "gated", "made")
    with hub({f"org/{name}": (COMMIT, folders / name) for name in names}) as found:
        yield found


@pytest.fixture
def here(tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path


def named(name: str) -> TaskSpec:
    task = task_of(name)
    assert task is not None
    return task


def opened(here: Path, task: TaskSpec) -> Dataset:
    return open_dataset(task, Sources(data=None, cache=here / "cache"))


@pytest.mark.parametrize("form", ["hf:org/lines", "hf:org/languages#lang=de", "hf:org/beir"])
def test_every_form_holds_what_beir_s_files_hold(folders: Path, here: Path, form: str) -> None:
    plain = opened(here, named(f"files:{folders / 'beir'}#test"))
    found = opened(here, named(form))
    assert found.sha256 == plain.sha256
    assert found.corpus.texts(0, 3) == plain.corpus.texts(0, 3) == [
        "Fox the quick fox", "a lazy dog", "Bird grey"
    ]  # fmt: skip
    assert found.query_ids == ("q1", "q2")
    assert found.source.startswith(f"hf:{form.partition('#')[0][3:]}@{COMMIT}")
    assert recorded_task(found.task.name, found.source, found.task.split) == found.task
    shutil.rmtree(here / "hub")
    for task in (found.task, named_by_user(found.task, "mine").limited(queries=1)):
        again = recorded_task(task.name, found.source, task.split, digest=task.digest())
        assert again == task, "the hub is not asked"
    assert not (here / "hub").exists()


def test_the_name_states_the_commit_and_nothing_is_asked_twice(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = named("hf:org/lines")
    assert task.name == task.dataset == "hf/org/lines+revision-1a2b3c4d"
    assert (task.headline, task.split, task.train_split) == ("nDCG@10", "test", "train")
    train = named("hf:org/lines#train")
    assert train.name == "hf/org/lines/split-train+revision-1a2b3c4d"
    assert (train.dataset, train.train_split) == (task.dataset, None)
    german = named(f"hf:org/languages@{COMMIT}#lang=de,split=dev")
    assert german.name == "hf/org/languages/lang-de/split-dev+revision-1a2b3c4d"
    assert hub_label("hf:org/lines#train") == "hf/org/lines/split-train"
    assert hub_label(f"hf:org/languages@{COMMIT}#lang=de,split=dev") == german.name
    assert list(opened(here, task).train_queries) == ["unjudged"]
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    for offline in (False, True):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        assert named("hf:org/lines") == task
        assert opened(here, task).query_ids == ("q1", "q2")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:org/languages", r"several languages: de, sw\. Name one: hf:org/languages#lang=de\."),
        ("hf:org/languages#lang=fr", r"no language 'fr'\. It has: de, sw\."),
        ("hf:org/languages#lang=de,split=test", r"no split 'test'\. It has: dev\."),
        ("hf:org/lines#tset", r"no split 'tset'\. Did you mean: test\?"),
        ("hf:org/lines@nope", "no revision 'nope'"),
        ("hf:org/nothing", "no such data set, or it is private"),
        ("hf:org/gated", "gated. Accept its terms on https://huggingface.co/datasets/org/gated"),
        ("hf:nothing", "'nothing' is not OWNER/NAME"),
        ("hf:org/lines#lnag=de", "'lnag=de' is not a choice"),
        ("hf:org/lines#dev,test", "'dev,test' is not a choice"),
    ],
)
def test_faults_are_named_in_one_line(here: Path, name: str, message: str) -> None:
    with pytest.raises(RankstoneError, match=message) as caught:
        task_of(name)
    assert "\n" not in str(caught.value)


def test_an_unknown_data_set_offline(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DataError, match="cannot be reached"):
        task_of("hf:org/lines")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    again = "hf download org/lines --repo-type dataset --revision main"
    with pytest.raises(DataError, match=f"HF_HUB_OFFLINE is set. .*{again}"):
        task_of("hf:org/lines@main")


def test_a_data_set_that_was_closed_since_it_was_named(folders: Path, here: Path) -> None:
    made_anew(folders)
    task = named("hf:org/made")
    (folders / "made" / "GATED").touch()
    try:
        with pytest.raises(DataError, match="is gated"):
            opened(here, task)
    finally:
        (folders / "made" / "GATED").unlink()


def test_records_are_found_without_the_hub(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    place = Workspace.find()
    assert place.recorded("bm25@hf:org/lines") == "bm25@hf/org/lines"
    names = ("hf/org/lines+revision-1a2b3c4d", "hf/org/lines/split-train+revision-1a2b3c4d")
    stored = [(make_record(task=name), here / name) for name in names]
    wanted = {name: expanded(name, place) for name in ("hf:org/lines",)}
    assert Selection(tasks=wanted).of(stored, here) == stored[:1]


CORPUS = "- config_name: corpus\n  data_files: corpus.jsonl\n"
OTHER_TABLES = (
    "- config_name: queries\n  data_files: [queries.jsonl]\n"
    "- config_name: qrels\n  data_files: [{split: test, path: qrels/test.jsonl}]\n"
)
FAULTS: dict[str, tuple[str, str, list[dict[str, Any]], str]] = {
    "no corpus": (OTHER_TABLES, "", [], "no configuration 'corpus'; it has: queries, qrels"),
    "outside": (CORPUS.replace("corpus.j", "../corpus.j"), "", [], "is not a file of the"),
    "no file": (CORPUS.replace("corpus.j", "c.j"), "", [], "no file matches c.jsonl"),
    "not YAML": ("- [", "", [], "its card does not name tables"),
    "a form": (CORPUS.replace("jsonl", "arrow"), "corpus.arrow", [{}], "that end in .parquet"),
    "no id": (CORPUS, "corpus.jsonl", [{"text": "x"}], "no column '_id' or .*; it has text"),
    "an empty id": (CORPUS, "corpus.jsonl", [{"_id": " ", "text": "x"}], "'_id' must be an id"),
    "no text": (CORPUS, "corpus.jsonl", [{"_id": "d1"}], "no column 'text' or"),
    "a part": (CORPUS, "qrels/test.jsonl", rows(("qid", "pid", "score"), [("q1", "d1", 0.5)]),
               "the score must be an integer, found 0.5"),
    "ids": (CORPUS, "qrels/test.jsonl", rows(("qid", "pid", "score"), [("q", "d1", 1)]),
            "none of the judged queries|queries"),
    "no queries": (CORPUS, "queries.jsonl", [], "no queries in hf:org/made"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_content_is_refused_with_its_place(folders: Path, here: Path, fault: str) -> None:
    configurations, file, found, message = FAULTS[fault]
    with_rest = configurations if OTHER_TABLES in configurations else configurations + OTHER_TABLES
    made_anew(folders, f"---\nconfigs:\n{with_rest}---\n")
    if file:
        write(folders / "made" / file, found)
    with pytest.raises(DataError, match=message):
        opened(here, named("hf:org/made"))


def test_a_part_of_the_files_is_refused(folders: Path, here: Path) -> None:
    made = folders / "made"
    made_anew(folders, CARD.replace("corpus.jsonl", "corpus/c-*"))
    write(made / "corpus" / "c-00000-of-00002.parquet", rows(("_id", "text"), [("d1", "x")]))
    with pytest.raises(DataError, match=r"corpus/corpus: only 1 of 2 files c-\* exist"):
        opened(here, named("hf:org/made"))


def test_a_definition_names_tables_and_pins_the_commit(folders: Path, here: Path) -> None:
    card = "---\nconfigs:\n- config_name: long\n  data_files:\n"
    for split, file in (("c", "corpus"), ("q", "queries"), ("r", "pairs")):
        card += f"  - split: {split}\n    path: {file}.jsonl\n"
    made_anew(folders, f"{card}---\n")
    pairs = rows(("qid", "doc_id"), [(q, d) for q, d, _ in JUDGED["test"]])
    write(folders / "made" / "pairs.jsonl", pairs)
    source = {"repository": "org/made", "revision": COMMIT, "corpus": "long/c",
              "queries": "long/q", "qrels": "long/r"}  # fmt: skip
    task = TaskSpec(name="a/b", description="", loader="hub", source=source, dataset="a/b",
                    split="r")  # fmt: skip
    found = opened(here, task)
    assert found.judgements.label.tolist() == [1, 1]
    assert any("no labels" in warning for warning in found.warnings)
    moving = task.model_copy(update={"source": {**source, "revision": "main"}})
    with pytest.raises(DefinitionError, match="expected a commit of 40 digits, found 'main'"):
        opened(here, moving)


CARD_FORMS = (
    "data_files: corpus/a.jsonl",
    "data_files: [corpus/a.jsonl, corpus/b.jsonl]",
    "data_files: [{split: test, path: 'corpus/*.jsonl'}]",
    "data_files: [{split: dev, path: corpus/a.jsonl}, {split: test, path: [corpus/b.jsonl]}]",
    "data_dir: corpus",
    "{data_dir: corpus, data_files: '*.jsonl'}",
    "data_files: '**/b.jsonl'",
)


@pytest.mark.slow
@pytest.mark.parametrize("form", CARD_FORMS)
def test_cards_are_read_as_the_library_reads_them(folders: Path, here: Path, form: str) -> None:
    datasets = pytest.importorskip("datasets")
    made = made_anew(folders)
    for name in ("a", "b"):
        write(made / "corpus" / f"{name}.jsonl", rows(("_id", "text"), [(name, name)]))
    form = form.strip("{}").replace(", data_files", "\n  data_files") if form[0] == "{" else form
    (made / "README.md").write_text(f"---\nconfigs:\n- config_name: corpus\n  {form}\n---\n")
    library = datasets.load_dataset_builder(str(made), "corpus", cache_dir=str(here / "d"))
    expected = {
        str(split): sorted(Path(file).name for file in files)
        for split, files in library.config.data_files.items()
    }
    ours = HubDataSet.named("hf:org/made", "org/made", COMMIT)
    found = {
        split: sorted(file.name for file in ours.files(Table("corpus", split, patterns)))
        for split, patterns in ours.configurations["corpus"].items()
    }
    assert found == expected
