"""Tasks without a definition: forms, resulting names, and errors."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from rankstone.benchmarks import content
from rankstone.benchmarks.dataset import Sources
from rankstone.benchmarks.recorded_tasks import recorded_task
from rankstone.benchmarks.store import ask_loader, open_dataset
from rankstone.benchmarks.task_names import file_task, named_by_user, task_of
from rankstone.errors import DataError, DefinitionError
from rankstone.specs import TaskSpec
from rankstone.workspace import Workspace
from tests.beir_layout import write_beir

SAFE = re.compile(r"files/[A-Za-z0-9][A-Za-z0-9_.-]*-[0-9a-f]{8}")


def collection(folder: Path, *splits: str) -> Path:
    judged = {split: [("q", "d")] for split in splits}
    return write_beir(folder, {"d": "one"}, {"q": "one?"}, **judged)


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


def test_the_same_bytes_have_the_same_name_and_others_another(here: Path) -> None:
    there = here / "elsewhere" / "mine"
    shutil.copytree(here / "mine", there)  # in another order, at another time
    for n, path in enumerate(sorted(there.rglob("*"), reverse=True)):
        os.utime(path, (n, n))
    (there / "SOURCE.md").write_text("not read")
    first, second = named("mine"), named(str(there))
    assert (first.name, first.dataset) == (second.name, second.dataset)
    assert first.digest() == second.digest()
    assert named("mine#dev").digest() == named(f"files:{there}#dev").digest()
    assert first.source != second.source
    for path in ("corpus.jsonl", "queries.jsonl", "qrels/dev.tsv"):
        before = (there / path).read_bytes()
        (there / path).write_bytes(before + b"\n")
        assert named(str(there)).name != first.name, path
        (there / path).write_bytes(before)
    (there / "qrels" / "dev.tsv").rename(there / "qrels" / "test2.tsv")
    assert named(str(there)).name != first.name
    (there / "qrels" / "test2.tsv").rename(there / "qrels" / "dev.tsv")
    assert named(str(there)).name == first.name


def test_a_trio_is_named_by_its_bytes_and_its_field(here: Path) -> None:
    for folder in ("a", "b"):
        (here / folder / "docs").mkdir(parents=True)
        for name in ("docs/1", "docs/2", "topics", "qrels"):
            (here / folder / name).write_text(name)
    forms = [f"files:docs={f}/docs,topics={f}/topics,qrels={f}/qrels" for f in ("a", "b")]
    first, second = map(named, forms)
    assert (first.name, first.digest()) == (second.name, second.digest())
    assert first.name == "files/docs-topics-b5c2e9e9", "names are the same on every machine"
    assert named(f"{forms[0]},query=desc").name != first.name
    (here / "b" / "docs" / "2").rename(here / "b" / "docs" / "0")
    assert named(forms[1]).name != first.name, "the names of its files order documents"


def test_large_files_are_hashed_once(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "CACHED_BYTES", 1)
    monkeypatch.setenv("RANKSTONE_CACHE", str(here / "cache"))
    os.utime(here / "mine" / "corpus.jsonl", (1, 1))
    name, hashed = named("mine").name, list[str]()
    real = content.sha256_of
    monkeypatch.setattr(content, "sha256_of", lambda path: hashed.append(path.name) or real(path))
    assert named("mine").name == name
    assert "corpus.jsonl" not in hashed
    assert "queries.jsonl" in hashed, "changed a moment ago, it may change again"
    os.utime(here / "mine" / "corpus.jsonl", (2, 2))
    assert named("mine").name == name
    assert "corpus.jsonl" in hashed


def test_files_that_changed_since_they_were_named_are_not_read(here: Path) -> None:
    task = named("mine")
    (here / "mine" / "corpus.jsonl").write_text('{"_id": "d", "text": "two"}\n')
    with pytest.raises(DataError, match="changed since the task was named"):
        open_dataset(task, Sources(data=None, cache=here / "cache"))


def test_another_checkout_holds_the_files_of_a_record(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("docs", "topics", "qrels"):
        (here / "one" / name).write_text(name) if name != "qrels" else None
    trio = f"files:docs={here}/one/docs,topics={here}/one/topics,qrels={here}/one/corpus.jsonl"
    for form, split in (("mine#dev", "dev"), (trio, "test")):
        recorded = named(form)
        own = named_by_user(recorded, "tickets")
        raw = ask_loader(recorded, Sources(data=None, cache=here / "cache"))
        shutil.copytree(here, here.with_name("other"), dirs_exist_ok=True)
        monkeypatch.chdir(here.with_name("other"))
        (here / "mine").rename(here / "gone")
        (here / "one").rename(here / "lost")
        for task in (recorded, own.limited(queries=1)):
            found = recorded_task(task.name, raw.source, split, digest=task.digest())
            assert found is not None
            assert (found.name, found.digest()) == (task.name, task.digest())
            assert str(here.with_name("other")) in str(found.source)
        (here / "gone").rename(here / "mine")
        (here / "lost").rename(here / "one")
        monkeypatch.chdir(here)


@pytest.mark.parametrize(
    ("task", "name", "message"),
    [("stdlib/functions", "x", "has one"), ("./mine", "a/b", "expected letters"),
     ("./mine", "", "expected letters")],
)  # fmt: skip
def test_names_of_one_s_own(here: Path, task: str, name: str, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        named_by_user(Workspace.find().task(task), name)
    assert named_by_user(named("mine"), "tickets").name == "own/tickets"


def test_judgements_alone_are_named_by_their_content(here: Path) -> None:
    file = here / "mine" / "qrels" / "dev.tsv"
    copied = here / "dev.tsv"
    shutil.copy(file, copied)
    assert file_task(file).digest() == file_task(copied).digest()
    assert file_task(file).name != file_task(file, relevance=2).name
    copied.write_text("q 0 d 2\n")
    assert file_task(file).name != file_task(copied).name


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
    for name in ("docs", "a,b.txt", "q#1"):
        (here / name).write_text(name)
    task = named("files:topics=a,b.txt,docs=docs,qrels=~/q#1,query=desc")
    assert {key: value for key, value in task.source.items() if key != "content"} == {
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
def test_names_that_are_not_paths_are_looked_up_in_definitions(here: Path, name: str) -> None:
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


def test_the_error_for_an_unknown_name_lists_the_forms_of_tasks(here: Path) -> None:
    with pytest.raises(DefinitionError, match=r"is not defined .*files:docs=PATH.* irds:ID"):
        Workspace.find(start=here).task("nothing")
