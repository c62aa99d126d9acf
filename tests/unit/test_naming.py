"""Tasks that are named by their place: the forms, the names that come of them, the faults."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rankstone.benchmarks.dataset import Sources
from rankstone.benchmarks.store import open_dataset
from rankstone.benchmarks.task_names import task_of
from rankstone.errors import DataError, DefinitionError
from rankstone.specs import TaskSpec
from rankstone.workspace import Workspace

SAFE = re.compile(r"files/[A-Za-z0-9][A-Za-z0-9_.-]*-[0-9a-f]{8}")


def collection(folder: Path, *splits: str) -> Path:
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text('{"_id": "d", "text": "one"}\n')
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "one?"}\n')
    for split in splits:
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    collection(tmp_path / "mine", "test", "train", "dev")
    collection(tmp_path / "one", "validation")
    return tmp_path


def named(name: str) -> TaskSpec:
    task = task_of(name)
    assert task is not None
    return task


def test_every_way_to_write_a_folder_is_the_same_task(here: Path) -> None:
    (here / "link").symlink_to("mine")
    paths = ["./mine", "mine", "mine/", "one/../mine", "~/mine", str(here / "mine"), "link"]
    ways = [*paths, *(f"files:{path}" for path in paths), "mine#test", "files:mine#test"]
    tasks = {named(way).model_dump_json() for way in ways}
    assert len(tasks) == 1
    task = named("mine")
    assert SAFE.fullmatch(task.name)
    assert task.name.startswith("files/mine-")
    assert (task.dataset, task.split, task.train_split) == (task.name, "test", "train")
    assert Workspace.find().task("./mine") == task


def test_a_split_is_another_task_of_the_same_data_set(here: Path) -> None:
    test, dev = named("mine"), named("mine#dev")
    assert dev.name.startswith("files/mine-dev-")
    assert SAFE.fullmatch(dev.name)
    assert (dev.dataset, dev.source, dev.split) == (test.dataset, test.source, "dev")
    assert named("mine#train").train_split is None


def test_the_only_split_need_not_be_named(here: Path) -> None:
    assert named("one").split == "validation"


def test_folders_of_the_same_name_are_different_tasks(here: Path) -> None:
    collection(here / "other" / "mine", "test")
    assert named("other/mine").name != named("mine").name


def test_a_name_is_stable(tmp_path: Path) -> None:
    trio = named("files:docs=/a/docs.xml.gz,topics=/b/topics.txt,qrels=/c/qrels.txt")
    assert trio.name == "files/docs-topics-6e14e996"


@pytest.mark.parametrize("name", ["a b", "weird:@#name", "集合", "-x", "x" * 99, "..a", "a\nb"])
def test_any_folder_makes_a_safe_name(here: Path, name: str) -> None:
    collection(here / name, "test")
    task = named(f"files:{name}")
    assert SAFE.fullmatch(task.name)
    assert open_dataset(task, Sources(data=None, cache=here / "cache")).query_ids == ("q",)


def test_a_folder_opens_and_its_source_is_its_name(here: Path) -> None:
    data = open_dataset(named("mine"), Sources(data=None, cache=here / "cache"))
    assert data.corpus.texts(0, 1) == ["one"]
    assert task_of(data.source) == named("mine")


def test_a_trio_takes_paths_with_commas(here: Path) -> None:
    task = named("files:topics=a,b.txt,docs=docs,qrels=~/q#1,query=desc")
    assert task.source == {
        "docs": str(here / "docs"),
        "topics": str(here / "a,b.txt"),
        "qrels": str(here / "q#1"),
        "query": "desc",
    }
    assert task.loader == "trec"
    assert task.name.startswith("files/docs-a-b-")


def test_an_id_of_ir_datasets(tmp_path: Path) -> None:
    task = named("irds:msmarco-passage/trec-dl-2019/judged")
    assert task.name == task.dataset == "irds/msmarco-passage/trec-dl-2019/judged"
    assert (task.loader, task.source) == (
        "irds",
        {"id": "msmarco-passage/trec-dl-2019/judged"},
    )


@pytest.mark.parametrize("name", ["nothing", "beir/nothing", "a#b", "#", ""])
def test_what_is_no_path_is_left_to_the_definitions(here: Path, name: str) -> None:
    assert task_of(name) is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./gone", r"'\./gone': /.*/gone: no such folder\. A task may be"),
        ("files:gone#dev", "/gone: no such folder"),
        ("./mine/corpus.jsonl", "a file, expected a folder or a .tar.zst"),
        ("mine#tset", r"no judgements for the split 'tset' in /.* Did you mean: test\?"),
        ("one#dev", r"It has: validation\. Write files:one#SPLIT"),
        ("files:docs=a,topics=b", r"'qrels' is missing\. Write files:docs=PATH,topics=PATH,qrels"),
        ("files:doc=a,topics=b,qrels=c", r"unknown key 'doc'\. Did you mean: docs"),
        ("files:docs=a,docs=b,topics=b,qrels=c", "'docs' is given twice"),
        ("files:docs=,topics=b,qrels=c", "'docs' is empty"),
        ("irds:", "'' is not an id of ir_datasets"),
        ("irds:../up", "'../up' is not an id"),
        ("irds:a//b", "'a//b' is not an id"),
    ],
)
def test_a_fault_in_a_clear_form_is_named(here: Path, name: str, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        task_of(name)


def test_several_splits_and_none_called_test(here: Path) -> None:
    collection(here / "many", "a", "b")
    with pytest.raises(DefinitionError, match=r"split 'test' in .* It has: a, b\."):
        task_of("many")


def test_a_folder_in_another_layout_names_what_is_missing(here: Path) -> None:
    (here / "mine" / "queries.jsonl").unlink()
    with pytest.raises(DataError, match=r"no queries\.jsonl\. .*files:docs=PATH"):
        task_of("mine")
    (here / "bare").mkdir()
    with pytest.raises(DataError, match=r"no corpus.jsonl and queries.jsonl and qrels/<split>.tsv"):
        task_of("./bare")


def test_a_defined_task_wins_over_a_folder(here: Path) -> None:
    collection(here / "functions", "test")
    place = Workspace.find(start=here)
    assert place.task("functions").name == "stdlib/functions"
    assert place.task("./functions").name.startswith("files/functions-")


def test_an_unknown_name_says_what_else_a_task_may_be(here: Path) -> None:
    with pytest.raises(DefinitionError, match=r"is not defined .*files:docs=PATH.* irds:ID"):
        Workspace.find(start=here).task("nothing")
