"""Export of records to other tools' formats, and import of theirs."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import pytrec_eval
import yaml
from typer.testing import CliRunner

import rankstone
from rankstone.cli.app import app
from rankstone.errors import DefinitionError, RankstoneWarning, ResultsError
from rankstone.leaderboards.frame import leaderboard
from rankstone.results.mteb_tasks import PARTS
from rankstone.results.per_query import write_per_query
from rankstone.results.store import ResultStore, Staged
from rankstone.results.trec_run import write_run
from rankstone.session import Session
from rankstone.workspace import Workspace
from tests.conftest import ROOT
from tests.records import MACHINE, make_record

TASK, METHOD = "beir/scifact", "dense/all-minilm-l6-v2"
QUERIES, DOCS = ["q 1", "q2"], ["d1", "d2", "d3"]


@pytest.fixture
def results(tmp_path):
    """One record with its run and values per query, and a failed one."""
    store = ResultStore(tmp_path / "results")
    docs = np.array([[2, 0, -1], [1, 2, 0]])
    scores = np.where(docs >= 0, 3.0 - np.arange(3), -np.inf).astype(np.float32)
    write_run(tmp_path / "run", QUERIES, docs, scores, lambda p: [DOCS[i] for i in p], tag="t")
    write_per_query(tmp_path / "values", QUERIES, {"nDCG@10": np.array([0.5, 1.0])})
    staged = Staged(run=tmp_path / "run", per_query=tmp_path / "values")
    store.write(make_record(METHOD, TASK), staged)
    store.write(make_record("dense/broken", TASK, status="failed"))
    return tmp_path / "results"


def exported(results, tmp_path, form):
    return rankstone.export(None, form, tmp_path / form, results=results)


def test_a_trec_run_is_read_by_trec_eval(results, tmp_path):
    (path,) = exported(results, tmp_path, "trec")
    with path.open() as file:
        run = pytrec_eval.parse_run(file)
    assert run == {"q%201": {"d3": 3.0, "d1": 2.0}, "q2": {"d2": 3.0, "d3": 2.0, "d1": 1.0}}


def test_ir_metadata_is_yaml_in_comments_before_the_same_run(results, tmp_path):
    (plain,), (path,) = (exported(results, tmp_path, form) for form in ("trec", "ir_metadata"))
    lines = path.read_text().splitlines()
    head = [line.removeprefix("# ") for line in lines if line.startswith("# ")]
    assert (head[0], head[-1]) == ("ir_metadata.start", "ir_metadata.end")
    found = yaml.safe_load("\n".join(head[1:-1]))
    record, _ = ResultStore(results).named(f"{METHOD}@{TASK}")
    assert found["tag"] == METHOD
    assert found["method"]["parameters"] == record.method.parameters
    assert found["method"]["description"]["language"] == "ελληνικά"
    assert found["platform"]["hardware"]["cpu"]["model"] == record.environment.cpu
    measures = found["research goal"]["evaluation"]["reported measures"]
    assert measures["nDCG@10"] == record.measures["nDCG@10"].mean
    assert lines[len(head) :] == plain.read_text().splitlines()


def test_both_forms_of_a_run_come_back_with_the_same_score(results, tmp_path):
    qrels = tmp_path / "qrels"
    qrels.write_text("q%201 0 d1 1\nq2 0 d2 1\nq2 0 d1 1\n")
    scores = []
    for form in ("trec", "ir_metadata"):
        (path,) = exported(results, tmp_path, form)
        arguments = ["score", str(path), "--qrels", str(qrels), "--results", str(tmp_path / form)]
        found = CliRunner().invoke(app, arguments)
        assert found.exit_code == 0, found.output
        (record,) = ResultStore(tmp_path / form).records()
        scores.append({name: measure.mean for name, measure in record.measures.items()})
    assert scores[0] == scores[1]
    # Relevant results stand at rank 2 of the one query, at ranks 1 and 3 of the other.
    assert scores[1]["AP"] == pytest.approx(np.mean([1 / 2, (1 / 1 + 2 / 3) / 2]))


def test_one_parquet_table_of_every_value(results, tmp_path):
    (path,) = exported(results, tmp_path, "parquet")
    frame = pd.read_parquet(path)
    assert frame["value"].tolist() == [0.5, 1.0]
    assert frame["query"].tolist() == QUERIES
    assert set(frame["method"]) == {METHOD}


def test_an_export_to_mteb_is_imported_with_the_same_values(results, tmp_path):
    path, _ = exported(results, tmp_path, "mteb")
    assert path.name == "SciFact.json"
    body = json.loads(path.read_text())
    assert body["scores"]["test"][0]["main_score"] == body["scores"]["test"][0]["ndcg_at_10"]
    elsewhere = tmp_path / "others"
    (stored,) = Session(results=elsewhere, workspace=ROOT).import_([path], "mteb")
    record = ResultStore(elsewhere).load(stored)
    own, _ = ResultStore(results).named(f"{METHOD}@{TASK}")
    assert record.method.name == "mteb/dense/all-minilm-l6-v2"
    for name in ("nDCG@10", "R@100"):
        assert record.measures[name].mean == own.measures[name].mean
    assert record.measures["nDCG@10"].low is None
    assert record.policy.rules == "mteb"
    frame = leaderboard([own, record])
    assert len(frame) == 2
    assert frame["nDCG@10 low"].isna().tolist().count(True) == 1


# As mteb 2.26.24 has them: `TaskResult` and `ModelMeta`, without the fields that have a default.
TASK_RESULT = {"dataset_revision": str, "task_name": str, "mteb_version": str | None,
               "scores": dict, "evaluation_time": float | None}  # fmt: skip
MODEL_META = {
    "loader", "name", "revision", "release_date", "languages", "n_parameters", "memory_usage_mb",
    "max_tokens", "embed_dim", "license", "open_weights", "public_training_code",
    "public_training_data", "framework", "similarity_fn_name", "use_instructions",
    "training_datasets",
}  # fmt: skip


def test_mteb_finds_what_is_exported(results, tmp_path):
    """By the rules of `mteb.ResultCache`: paths and required fields."""
    store = ResultStore(results)
    for machine in ("aaaaaaaa", "bbbbbbbb"):
        record = make_record(METHOD, TASK, machine=machine)
        bare = record.task.model_copy(update={"sha256": {}})
        store.write(record.model_copy(update={"task": bare}))
    store.write(make_record("lexical/bm25", "stdlib/functions"))
    with pytest.warns(RankstoneWarning, match="skipped, .*: lexical/bm25 on stdlib/functions"):
        exported(results, tmp_path, "mteb")
    found = list((tmp_path / "mteb").glob("results/*/*/*.json"))
    assert sorted(p.name for p in found) == ["SciFact.json", "model_meta.json"]
    (path,) = (p for p in found if p.name != "model_meta.json")
    meta = json.loads(path.with_name("model_meta.json").read_text())
    assert set(meta) >= MODEL_META
    name, revision = path.relative_to(tmp_path / "mteb" / "results").parts[:2]
    assert (meta["name"].replace("/", "__"), meta["revision"]) == (name, revision)
    body = json.loads(path.read_text())
    for key, kind in TASK_RESULT.items():
        assert isinstance(body[key], kind), key
    ((split, (scores,)),) = body["scores"].items()
    assert split == "test"
    assert isinstance(scores["main_score"], float)
    assert (scores["hf_subset"], scores["languages"]) == ("default", ["eng-Latn"])


def test_runs_of_one_cell_of_two_machines_have_two_files(results, tmp_path):
    record, path = ResultStore(results).named(f"{METHOD}@{TASK}")
    here = record.environment.model_copy(update={"machine": "ffffffff"})
    staged = Staged(run=path.with_name(record.files.run))
    ResultStore(results).write(record.model_copy(update={"environment": here}), staged)
    names = {path.name for path in exported(results, tmp_path, "trec")}
    assert names == {
        f"dense_all-minilm-l6-v2@beir_scifact@{machine}.trec" for machine in (MACHINE, "ffffffff")
    }


def test_names_that_no_file_can_tell_apart_have_a_file_each(results, tmp_path):
    store = ResultStore(results)
    for name in ("runs/a+b", "runs/a=b", "runs/a_b"):
        write_run(tmp_path / "run", ["q"], np.zeros((1, 1), int), np.ones((1, 1), np.float32),
                  lambda p: ["d1"], tag=name)  # fmt: skip
        store.write(make_record(name, TASK), Staged(run=tmp_path / "run"))
    written = rankstone.export(["a+b@", "a=b@", "a_b@"], "trec", tmp_path / "out", results=results)
    tags = sorted(path.read_text().split()[-1] for path in written)
    assert tags == ["runs/a+b", "runs/a=b", "runs/a_b"]


def test_files_of_one_cell_are_refused_because_one_would_replace_the_other(tmp_path):
    folders = [tmp_path / "model" / revision for revision in ("1", "2")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "r.trec").write_text("1 Q0 d1 1 1.0 x\n")
        (folder / "SciFact.json").write_text(json.dumps(
            {"task_name": "SciFact", "scores": {"test": [{"ndcg_at_10": 0.5}]}}
        ))  # fmt: skip
    session = Session(results=tmp_path / "results", workspace=ROOT)
    for form, name in (("trec", "r.trec"), ("mteb", "SciFact.json")):
        files = [folder / name for folder in folders]
        with pytest.raises(DefinitionError, match="only one would be kept"):
            session.import_(files, form, on=TASK if form == "trec" else None)
    assert not (tmp_path / "results").exists()


def test_mteb_names_the_split_of_nanobeir(tmp_path):
    """mteb 2.26.24: NanoSciFactRetrieval has eval_splits = ["train"]."""
    ResultStore(tmp_path / "r").write(make_record(METHOD, "nano-beir/scifact"))
    path, _ = rankstone.export(None, "mteb", tmp_path / "out", results=tmp_path / "r")
    assert path.name == "NanoSciFactRetrieval.json"
    assert list(json.loads(path.read_text())["scores"]) == ["train"]
    back = Session(results=tmp_path / "back", workspace=ROOT)
    back.import_([path], "mteb")
    assert [record.task.name for record, _ in back.records()] == ["nano-beir/scifact"]


def test_both_old_and_new_files_of_mteb_are_read(tmp_path):
    scores = {"ndcg_at_10": 0.64508, "recall_at_100": 0.925, "map_at_10": 0.6, "mrr_at_10": 0.61}
    old = {"mteb_dataset_name": "SciFact", "mteb_version": "1.0.2", "test": scores}
    new = {"task_name": "SciFact", "scores": {"test": [{**scores, "hf_subset": "default"}]}}
    for name, body in (("old", old), ("new", new)):
        folder = tmp_path / f"org__{name}" / "abc"
        folder.mkdir(parents=True)
        (folder / "SciFact.json").write_text(json.dumps(body))
    (tmp_path / "org__new" / "abc" / "model_meta.json").write_text('{"name": "org/model-x"}')
    files = [tmp_path / f"org__{name}" / "abc" / "SciFact.json" for name in ("old", "new")]
    Session(results=tmp_path / "r", workspace=ROOT).import_(files, "mteb")
    records = {r.method.name: r for r in ResultStore(tmp_path / "r").records()}
    assert set(records) == {"mteb/org/old", "mteb/org/model-x"}
    for record in records.values():
        assert record.measures["nDCG@10"].mean == 0.64508
        assert record.measures["AP@10"].mean == 0.6


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "expected an object"),
        ('{"task_name": "SciFakt"}', "Did you mean: SciFact"),
        (
            '{"task_name": "SciFact", "scores": {"dev": []}}',
            "no scores of the split 'test'. It has: dev.",
        ),
        ('{"task_name": "SciFact", "scores": {"test": [{}]}}', "has no nDCG@10"),
    ],
)
def test_invalid_results_are_refused_and_nothing_is_stored(tmp_path, body, said):
    (tmp_path / "x.json").write_text(body)
    with pytest.raises(ResultsError) as caught:
        Session(results=tmp_path / "r", workspace=ROOT).import_([tmp_path / "x.json"], "mteb")
    assert said in str(caught.value)
    assert not (tmp_path / "r").exists()


def test_faults_of_export_leave_nothing(results, tmp_path):
    with pytest.raises(ResultsError, match="ended as failed"):
        rankstone.export(["broken@"], "trec", tmp_path / "out", results=results)
    ResultStore(results).write(make_record("lexical/bm25", TASK))
    with pytest.raises(ResultsError, match=r"no run beside .*--results DIR"):
        rankstone.export(None, "trec", tmp_path / "out", results=results)
    ResultStore(tmp_path / "other").write(make_record(METHOD, "stdlib/functions"))
    with pytest.raises(ResultsError, match="MTEB has no such task"):
        rankstone.export(None, "mteb", tmp_path / "out", results=tmp_path / "other")
    assert not (tmp_path / "out").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ResultsError, match="no records to export"):
        rankstone.export(None, "trec", tmp_path / "out", results=tmp_path / "empty")


def test_tasks_have_their_names_splits_and_subsets_in_mteb(tmp_path):
    """Compare with MTEB's registry, as written by tests/golden/make_mteb_tasks.py."""
    registry = json.loads((ROOT / "tests/golden/mteb_tasks.json").read_text())["tasks"]
    tasks, checked = Workspace.find(ROOT).tasks, set[str]()
    assert set(PARTS) <= set(tasks)
    for name, (theirs, split, subset) in PARTS.items():
        if theirs in registry:
            facts, checked = registry[theirs], {*checked, theirs}
            there = [split or tasks[name].split, *([subset] if subset != "default" else [])]
            assert "/".join(there) in facts["statistics"], name
            assert there[0] in facts["splits"]
            main = {"nDCG@10": "ndcg_at_10", "nDCG@1": "ndcg_at_1"}
            assert facts["main_score"] == main[tasks[name].headline], name
    suites = json.loads((ROOT / "tests/golden/mteb_tasks.json").read_text())["suites"]
    assert checked == {t for n, names in suites.items() if "BRIGHT" not in n for t in names}


def test_parts_of_a_task_of_mteb_are_one_file(tmp_path):
    store = ResultStore(tmp_path / "r")
    for language, scale in (("go", 0.5), ("ruby", 1.0)):
        store.write(make_record(METHOD, f"code/coir-codesearchnet/{language}", scale=scale))
    path = next((p for p in rankstone.export(None, "mteb", tmp_path / "o", results=store.folder)
                 if p.name == "COIRCodeSearchNetRetrieval.json"), None)  # fmt: skip
    assert path is not None
    [parts] = json.loads(path.read_text())["scores"].values()
    assert {part["hf_subset"]: part["main_score"] for part in parts} == {
        record.task.name.rpartition("/")[2]: record.measures["nDCG@10"].mean
        for record in store.records()
    }


def test_results_are_exported_and_imported_by_command(results, tmp_path):
    arguments = ["--results", str(results), "-o", str(tmp_path / "out")]
    found = CliRunner().invoke(app, ["export", "minilm", "--to", "mteb", *arguments])
    assert found.exit_code == 0, found.output
    (path,) = (tmp_path / "out").rglob("SciFact.json")
    into = ["--results", str(tmp_path / "in")]
    found = CliRunner().invoke(app, ["import", str(path), "--from", "mteb", *into])
    assert "record: " in found.output
    assert CliRunner().invoke(app, ["import", str(path), "--from", "trec", *into]).exit_code == 2
    with pytest.raises(DefinitionError, match="one file at a time"):
        Session(results=tmp_path / "in").import_([path, path], "trec", on="beir/scifact", name="x")
