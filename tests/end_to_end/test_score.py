"""`score`, `verify` and `show` through the command line, on a collection of six documents."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from typer.testing import CliRunner, Result

from rankstone.benchmarks.dataset import Sources
from rankstone.benchmarks.store import open_dataset
from rankstone.cli.app import app, main, with_lists
from rankstone.errors import (
    DataError,
    DefinitionError,
    MeasureError,
    RankstoneError,
    ResultsError,
)
from rankstone.evaluation.conventions.tools import TOOLS
from rankstone.evaluation.evaluate import evaluate
from rankstone.profiling.latency import summarise
from rankstone.results.per_query import RawLoad, write_latency, write_load, write_per_query
from rankstone.results.record import Policy, Profile, RunRecord, TaskInfo
from rankstone.results.serialise import from_json, to_json
from rankstone.results.side_files import side_file
from rankstone.results.store import ResultStore, Staged
from rankstone.results.trec_run import write_run
from rankstone.runners.protocols import Hits
from rankstone.scoring.task_qrels import open_judged
from rankstone.scoring.verification import differences
from rankstone.workspace import Workspace
from tests.beir_layout import write_beir
from tests.records import make_record

MEASURES = ["nDCG@3", "R@3", "RR@3", "AP", "Judged@3"]
TASKS = """
[defaults]
loader = "beir"
dataset = "tiny/letters"
headline = "nDCG@3"
depth = 4
measures = ["nDCG@3", "R@3", "RR@3", "AP", "Judged@3"]

[tasks.letters]
description = "d"

[tasks.graded]
description = "d"
relevance = 2

[tasks.own]
description = "d"
self_hits = "drop"

[tasks.judged]
description = "d"
loader = "qrels"
source = { folder = "tiny/letters" }

[tasks.answered]
description = "d"
judge = "answers"
measures = ["Accuracy@1", "Accuracy@2"]
headline = "Accuracy@1"
"""
ANSWERS = {"q1": ["D1"], "q2": ["nowhere", "of d5"], "q3": ["text of d"]}
# `a b` holds a space; `q3` is a query and a document.
DOCUMENTS = ("d1", "d2", "d3", "a b", "d5", "q3")
QRELS = {"q1": {"d1": 2, "d2": 1}, "q2": {"a b": 2}, "q3": {"d3": 1, "q3": 0}}
RUN = """\
q1 Q0 d3 1 3.0 tag
q1 Q0 d1 2 2.0 tag
q1 Q0 d2 3 2.0 tag
q2 Q0 d5 1 3.5 tag
q2 Q0 a%20b 2 3.25 tag
q3 Q0 q3 1 9.0 tag
q3 Q0 d3 2 1.0 tag
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    documents = {d: f"text of {d}" for d in DOCUMENTS}
    queries = {q: {"text": "?", "metadata": {"answers": ANSWERS[q]}} for q in QRELS}
    judged = [(q, *pair) for q, labels in QRELS.items() for pair in labels.items()]
    write_beir(tmp_path / "data" / "tiny" / "letters", documents, queries, test=judged)
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "tiny.toml").write_text(TASKS)
    (tmp_path / "runners").mkdir()
    (tmp_path / "mine.trec").write_text(RUN)
    return tmp_path


def call(place: Path, *arguments: str) -> Result:
    options = [
        *("--workspace", str(place), "--data", str(place / "data")),
        *("--cache", str(place / "cache"), "--results", str(place / "results")),
    ]
    found = CliRunner(env={"COLUMNS": "120"}).invoke(app, [*arguments, *options])
    if isinstance(found.exception, RankstoneError):
        raise found.exception
    return found


def score(place: Path, *arguments: str, run: str = "mine.trec") -> RunRecord:
    before = {record.key for record in records(place)}
    found = call(place, "score", str(place / run), *arguments)
    assert found.exit_code == 0, found.output
    (record,) = [record for record in records(place) if record.key not in before]
    return record


def records(place: Path) -> list[RunRecord]:
    return ResultStore(place / "results").records()


def means(record: RunRecord) -> dict[str, float]:
    return {name: measure.mean for name, measure in record.measures.items()}


def write(place: Path, name: str, text: str) -> str:
    (place / name).write_text(text)
    return name


def test_a_run_file_becomes_a_record_beside_those_of_runners(place: Path) -> None:
    record = score(place, "--on", "letters")
    assert (record.method.name, record.method.adapter) == ("runs/mine", "run file")
    assert record.profile is None
    assert record.policy.depth == 3
    # q1: d3, then d2 before d1 (a tie, id descending); q2: found at 2; q3: found at 2.
    assert means(record)["RR@3"] == pytest.approx(1 / 2)
    assert means(record)["AP"] == pytest.approx(((1 / 2 + 2 / 3) / 2 + 1 / 2 + 1 / 2) / 3)
    assert record.measures["nDCG@3"].best > record.measures["nDCG@3"].mean
    assert record.queries is not None
    assert record.queries.model_dump() == {"n": 3, "n_missing": 0, "n_tied": 1}
    assert record.task.n_documents == 6
    assert set(record.task.sha256) == {"corpus", "queries", "judgements"}
    told = call(place, "score", str(place / "mine.trec"), "--on", "letters", "--name", "other/run")
    assert "mine" in told.stdout
    assert "run" in told.stdout
    assert {r.method.name for r in records(place)} == {"runs/mine", "other/run"}


def test_the_task_may_stand_before_the_file(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = [
        "--workspace",
        str(place),
        "--data",
        str(place / "data"),
        "--cache",
        str(place / "c"),
    ]
    given = ["score", "--on", "letters", str(place / "mine.trec"), *options]
    monkeypatch.setattr("sys.argv", ["rankstone", *given, "--results", str(place / "results")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert len(records(place)) == 1


@pytest.mark.parametrize("ending", [".run.gz", ".zst"])
def test_packed_runs_give_the_same(place: Path, ending: str) -> None:
    plain = score(place, "--on", "letters")
    pack = gzip.compress if ending.endswith("gz") else zstandard.ZstdCompressor().compress
    (place / f"packed{ending}").write_bytes(pack(RUN.encode()))
    packed = score(place, "--on", "letters", run=f"packed{ending}")
    assert packed.method.name == "runs/packed"
    assert packed.measures == plain.measures
    assert packed.files.per_query_sha256 == plain.files.per_query_sha256


def test_thresholds_and_self_hits_are_the_tasks(place: Path) -> None:
    assert means(score(place, "--on", "graded"))["RR@3"] == pytest.approx((1 / 3 + 1 / 2) / 3)
    own = score(place, "--on", "own")
    assert means(own)["RR@3"] == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)
    assert own.policy.self_hits == "drop"


def test_judgements_alone_are_enough(place: Path) -> None:
    whole, alone = score(place, "--on", "letters"), score(place, "--on", "judged")
    assert alone.measures == whole.measures
    assert (alone.task.n_documents, alone.task.n_queries) == (None, 3)
    assert alone.task.sha256 == {"judgements": whole.task.sha256["judgements"]}


def test_a_score_by_a_file_of_judgements_is_verified_by_that_file(place: Path) -> None:
    file = place / "data" / "tiny" / "letters" / "qrels" / "test.tsv"
    record = score(place, "--qrels", str(file), "--relevance", "2")
    assert (record.task.name[:11], record.policy.relevance) == ("qrels/test-", 2)
    # q1: d1 is third; q2: second.
    assert record.measures["AP"].mean == pytest.approx((1 / 3 + 1 / 2) / 3)
    assert "verified" in call(place, "verify").stdout
    file.unlink()
    gone = call(place, "verify")
    assert gone.exit_code == 1
    assert "there is no file" in gone.stdout


def test_irregularities_are_counted_and_reported(place: Path) -> None:
    extra = "q9 Q0 d1 1 1 t\nq1 Q0 stray 4 1.5 t\nq1 Q0 d5 5 1.25 t\n"
    lines = [line for line in RUN.splitlines(keepends=True) if not line.startswith("q3")]
    name = write(place, "odd.trec", "".join(lines) + extra)
    record = score(place, "--on", "letters", run=name)
    said = "\n".join(record.warnings)
    assert "1 of its queries are not judged and are left out, such as 'q9'" in said
    assert "1 judged queries have no results and score 0" in said
    assert "1 of its documents are not in the corpus and count as not relevant, such as" in said
    assert "lists of up to 5 results are truncated to the task's 4" in said
    assert record.queries is not None
    assert (record.queries.n, record.queries.n_missing) == (3, 1)
    assert record.policy.depth == 4
    assert (
        "warning: odd.trec: lists"
        in call(place, "score", str(place / name), "--on", "judged").stderr
    )


def test_a_measure_deeper_than_the_run_is_left_out(place: Path) -> None:
    name = write(place, "shallow.trec", "q1 Q0 d1 1 3 t\nq1 Q0 d2 2 2 t\nq2 Q0 d5 1 1 t\n")
    record = score(place, "--on", "letters", run=name)
    assert list(record.measures) == ["AP"]
    assert record.policy.depth == 2
    said = "\n".join(record.warnings)
    assert "left out nDCG@3, R@3, RR@3, Judged@3: the deepest list holds 2 results" in said
    assert "AP: of 2 results per query; the task's depth is 4" in said


def test_several_runs_are_scored_by_further_measures(place: Path) -> None:
    runs = [write(place, f"{name}.trec", RUN.replace("3.0", score))
            for name, score in (("one", "3.0"), ("two", "0.5"))]  # fmt: skip
    paths = [str(place / name) for name in runs]
    given = ["score", *paths, "--on", "letters", "--measures", "RR(rel=2)", "P@2"]
    made = call(place, *with_lists(given))
    assert made.exit_code == 0, made.output
    means = {r.method.name: {m: v.mean for m, v in r.measures.items()} for r in records(place)}
    # Label 2: d1 of q1, third in one.trec and second in two.trec (d2 has the same score), and
    # `a b` of q2, second in both; no document of q3.
    assert means["runs/one"]["RR(rel=2)"] == pytest.approx((1 / 3 + 1 / 2) / 3)
    assert means["runs/two"]["RR(rel=2)"] == pytest.approx((1 / 2 + 1 / 2) / 3)
    assert (means["runs/one"]["P@2"], means["runs/two"]["P@2"]) == pytest.approx((1 / 2, 2 / 3))
    assert "--name names one run" in call(place, "score", *paths, "--name", "x").output
    other = str(place / "one.txt")
    with pytest.raises(DefinitionError, match="named runs/one"):
        call(place, "score", paths[0], other, "--on", "letters")
    with pytest.raises(MeasureError, match="nonsense"):
        call(place, "score", *paths, "--on", "letters", "--measures", "nonsense")


def test_unjudged_ids_with_spaces_are_found(place: Path) -> None:
    corpus = place / "data" / "tiny" / "letters" / "corpus.jsonl"
    corpus.write_text(corpus.read_text() + '{"_id": "e f", "text": "unjudged"}')
    name = write(place, "spaced.trec", "q1 Q0 e%20f 1 2 t\nq1 Q0 d1 2 1 t\nq2 Q0 g%20h 1 1 t\n")
    said = score(place, "--on", "letters", run=name).warnings
    assert "1 of its documents are not in the corpus" in said[1]
    assert "'g%20h'" in said[1]


def test_a_list_of_the_whole_corpus_is_as_deep_as_any(place: Path) -> None:
    toml = place / "benchmarks" / "tiny.toml"
    toml.write_text(toml.read_text().replace("depth = 4", "depth = 1000"))
    everything = "".join(
        f"q1 Q0 {d.replace(' ', '%20')} 1 {n} t\n" for n, d in enumerate(DOCUMENTS)
    )
    record = score(place, "--on", "letters", run=write(place, "all.trec", everything))
    assert record.policy.depth == 1000


@pytest.mark.parametrize(
    ("text", "arguments", "kind", "words"),
    [
        ("z Q0 d1 1 1 t\n", ["--on", "letters"], ResultsError, "none of its 1 queries is judged"),
        ("", ["--on", "letters"], ResultsError, "is empty: it holds no results"),
        ("q1 Q0 d1 1 1\n", ["--on", "letters"], ResultsError, "expected 6 columns"),
        (RUN, ["--on", "lettres"], DefinitionError, "Did you mean: tiny/letters"),
        (RUN, ["--on", "letters@half"], DefinitionError, "'@half' is not a limit"),
        (RUN, [], DefinitionError, "--qrels"),
        (RUN, ["--on", "letters", "--qrels", "x"], DefinitionError, "either a task"),
        (RUN, ["--qrels", "nowhere"], DataError, "there is no file"),
    ],
)
def test_inputs_that_cannot_be_scored_are_refused(
    place: Path, text: str, arguments: list[str], kind: type[RankstoneError], words: str
) -> None:
    name = write(place, "bad.trec", text)
    with pytest.raises(kind) as told:
        call(place, "score", str(place / name), *arguments)
    assert words in str(told.value)
    assert records(place) == []


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "x\u2028y"])
def test_a_name_that_cannot_be_printed_is_refused(place: Path, name: str) -> None:
    with pytest.raises(ResultsError, match="cannot name a method"):
        call(place, "score", str(place / "mine.trec"), "--on", "letters", "--name", name)


def test_a_run_too_shallow_for_every_measure_is_refused(place: Path) -> None:
    toml = place / "benchmarks" / "tiny.toml"
    toml.write_text(toml.read_text().replace('"AP", ', ""))
    with pytest.raises(ResultsError, match="fewer than every measure of tiny/letters needs"):
        score(place, "--on", "letters", run=write(place, "one.trec", "q1 Q0 d1 1 1 t\n"))


def test_relevance_belongs_to_judgements_from_a_file(place: Path) -> None:
    found = call(place, "score", str(place / "mine.trec"), "--on", "letters", "--relevance", "2")
    assert found.exit_code == 2


@pytest.fixture
def scored(place: Path) -> Path:
    for task in ("letters", "letters@first2", "graded", "own", "judged"):
        score(place, "--on", task)
    return place


def test_stored_records_verify(scored: Path) -> None:
    found = call(scored, "verify")
    assert found.exit_code == 0, found.stdout
    assert "5 of 5 records verified" in found.stdout
    one = call(scored, "verify", "runs/mine@tiny/own")
    assert "1 of 1 records verified" in one.stdout


@pytest.mark.parametrize("name", ["letters", "own", "graded"])
def test_a_runners_record_verifies(place: Path, name: str) -> None:
    task = Workspace.find(place).task(name)
    sources = Sources(data=place / "data", cache=place / "cache")
    dataset = open_dataset(task, sources)
    rng = np.random.default_rng(0)
    docs = np.stack([rng.permutation(6)[:5] for _ in range(3)])
    # Two distinct scores, so that nearly everything ties; a negative zero ties with zero.
    scores = rng.choice(np.array([0.0, -0.0, 0.1], dtype=np.float32), docs.shape)
    scores[docs == DOCUMENTS.index("a b")] = 0.1
    found = evaluate(Hits(docs, scores), dataset, measures=[*MEASURES, "Rprec"])
    write_per_query(place / "q.parquet", found.query_ids, found.per_query)
    ranking = found.ranking
    ids = dataset.corpus.ids
    write_run(place / "r.zst", found.query_ids, ranking.docs, ranking.scores, ids, tag="t")
    record = make_record(
        task=task.name,
        measures=found.measures,
        queries=found.queries,
        policy=Policy.of(task),
    ).model_copy(update={"task": TaskInfo.of(task, dataset.facts())})
    store = ResultStore(place / "results")
    stored = store.write(record, Staged(run=place / "r.zst", per_query=place / "q.parquet"))
    assert found.queries.n_tied > 0
    assert "a%20b" in read_text(place / "r.zst")
    judged = open_judged(task, sources)
    assert list(differences(stored, store.path(stored), lambda record: judged)) == []
    assert "1 of 1 records verified" in call(place, "verify").stdout


def resigned(place: Path, kind: str, **changes: object) -> None:
    """Change the section `kind` of the record, with the digest of a record that was so written."""
    store = ResultStore(place / "results")
    [record] = store.records()
    section = record[kind].model_copy(update=changes)
    store.path(record).write_text(to_json(record.model_copy(update={kind: section})))


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("task", {"digest": "0" * 64}, "task: digest is 000"),
        ("task", {"headline": "AP"}, "task: headline is AP, defined as nDCG@3"),
        ("policy", {"self_hits": "drop"}, "policy: self_hits is drop, defined as keep"),
        ("policy", {"relevance": 2}, "policy: relevance is 2, defined as 1"),
    ],
)
def test_definitions_are_verified(place: Path, kind: str, changes: Any, words: str) -> None:
    score(place, "--on", "letters")
    resigned(place, kind, **changes)
    found = call(place, "verify")
    assert (found.exit_code, words in found.stdout) == (1, True)


def test_latencies_and_removed_measures_are_verified(place: Path) -> None:
    record, store = score(place, "--on", "letters"), ResultStore(place / "results")
    times = np.random.default_rng(0).gamma(3, 1, (2, 80))
    write_latency(place / "latency", *times)
    latency = summarise(*times, warmup=2, threads=1, k=4)
    files = {k: side_file(record, store.path(record), k) for k in ("run", "per_query")}
    staged = Staged(**files, latency=place / "latency")
    profile = Profile(latency=latency)
    good = store.write(record.model_copy(update={"profile": profile}), staged)
    assert call(place, "verify").exit_code == 0
    assert latency.total.p95_ms is not None
    assert latency.total.p99_ms is None
    ends = {**latency.total.intervals, "p50_ms": (0.0, 9.0)}
    wrong = {"p95_ms": latency.total.p95_ms / 100, "p99_ms": 7.0, "intervals": ends}
    tenth = latency.total.model_copy(update=wrong)
    resigned(place, "profile", latency=latency.model_copy(update={"total": tenth, "n": 7}))
    found = call(place, "verify")
    assert "latency: total p95_ms is" in found.stdout
    assert "latency: total p99_ms is 7.0, recomputed None" in found.stdout
    assert "latency: total p50_ms low is 0.0" in found.stdout
    assert "latency: n is 7, recomputed 80" in found.stdout
    resigned(place, "profile", latency=None)
    assert "latency: the record has no figures" in call(place, "verify").stdout
    fewer = {name: measure for name, measure in good.measures.items() if name != "AP"}
    store.path(good).write_text(to_json(good.model_copy(update={"measures": fewer})))
    assert "per_query: AP is stored, but is not a measure" in call(place, "verify").stdout


def test_later_measures_leave_other_files_as_they_are(place: Path) -> None:
    record, store = score(place, "--on", "letters"), ResultStore(place / "results")
    files = {k: side_file(record, store.path(record), k) for k in ("run", "per_query")}
    write_latency(place / "latency", np.ones(3), np.ones(3))
    write_load(place / "load", RawLoad.of([0], *np.zeros((3, 1)), [0]))
    staged = Staged(**files, latency=place / "latency", load=place / "load")
    stored = store.write(record, staged)
    assert call(place, "leaderboard", "--measures", "P@1").exit_code == 0
    [more] = records(place)
    assert "P@1" in more.measures
    kept = ("run", "latency", "load")
    assert [more.files[k] for k in kept] == [stored.files[k] for k in kept]
    assert all(side_file(more, store.path(more), k) for k in kept)


def test_a_record_without_digest_is_reported(place: Path) -> None:
    score(place, "--on", "letters")
    path = file_of(place, "record")
    body = {k: v for k, v in json.loads(path.read_text()).items() if k != "digest"}
    path.write_text(json.dumps({**body, "schema_version": 3}))
    found = call(place, "verify")
    assert (found.exit_code, "without digest" in found.stdout) == (0, True)


def test_a_task_judged_by_answers_is_scored_and_verified(place: Path) -> None:
    record = score(place, "--on", "answered")
    # q1: d1 comes third; q2: d5 comes first; q3: "d" is a word of no document.
    assert means(record) == {"Accuracy@1": 1 / 3, "Accuracy@2": 1 / 3}
    assert record.policy.judge == "answers"
    assert len(list((place / "cache" / "answers").iterdir())) == 1
    assert "1 of 1 records verified" in call(place, "verify").stdout
    # The same passages with d1 before d2: the answer to q1 comes second.
    swapped = RUN.replace("d2 3 2.0", "d2 3 0.5").replace("d3 1 3.0", "d3 1 2.5")
    write(place, "other.trec", swapped)
    assert means(score(place, "--on", "answered", run="other.trec"))["Accuracy@2"] == 2 / 3
    assert "2 of 2 records verified" in call(place, "verify").stdout


@pytest.mark.parametrize("tool", list(TOOLS))
def test_no_tool_of_labels_makes_anything_of_answers(place: Path, tool: str) -> None:
    score(place, "--on", "answered")
    with pytest.raises(ResultsError, match=f"judged by answers, and {tool} needs labels"):
        call(place, "show", "runs/mine@tiny/answered", "--as", tool)
    assert "Accuracy@2" in call(place, "show", "runs/mine@tiny/answered").stdout


def test_a_changed_answer_is_found(place: Path) -> None:
    score(place, "--on", "answered")
    path = place / "data" / "tiny" / "letters" / "queries.jsonl"
    path.write_text(path.read_text().replace("of d5", "of d6"))
    found = call(place, "verify")
    assert found.exit_code == 1
    assert "Accuracy@1: mean is 0.333" in found.stdout


def test_a_failed_record_has_nothing_to_verify(place: Path) -> None:
    ResultStore(place / "results").write(make_record(task="tiny/letters", status="oom"))
    found = call(place, "verify")
    assert (found.exit_code, "(oom)" in found.stdout) == (0, True)
    assert "nothing to verify: all records are of failed cells" in found.stdout


def read_text(path: Path) -> str:
    return zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes()).decode()


def file_of(place: Path, kind: str) -> Path:
    store = ResultStore(place / "results")
    (record,) = [r for r in store.records() if r.task.name == "tiny/letters"]
    own = store.path(record)
    path = own if kind == "record" else side_file(record, own, kind)
    assert path is not None
    return path


def tamper_run(place: Path) -> None:
    path = file_of(place, "run")
    changed = read_text(path).replace("a%20b", "gone")
    path.write_bytes(zstandard.ZstdCompressor().compress(changed.encode()))


def tamper_measure(place: Path) -> None:
    path = file_of(place, "record")
    body = json.loads(path.read_text())
    body["measures"]["RR@3"]["mean"] += 1e-8
    body["measures"]["R@3"]["low"] += 1e-5
    body["measures"]["AP"]["low"] += 1e-7  # within the tolerance of intervals
    body["queries"]["n_tied"] = 7
    path.write_text(json.dumps(body))


def tamper_per_query(place: Path) -> None:
    path = file_of(place, "per_query")
    table = pq.read_table(path)
    column = table.column_names.index("AP")
    pq.write_table(table.set_column(column, "AP", pa.array([0.5, 0.5, 1.0])), path)


def tamper_judgements(place: Path) -> None:
    path = place / "data" / "tiny" / "letters" / "qrels" / "test.tsv"
    path.write_text(path.read_text().replace("q1\td2\t1", "q1\td2\t2"))


@pytest.mark.parametrize(
    ("tamper", "words", "unsaid"),
    [
        (tamper_run, ["run: ", "has sha256", "RR@3: mean is 0.5, recomputed 0.333"], ["missing"]),
        (
            tamper_measure,
            [
                "record: changed since it was written",
                "RR@3: mean is 0.50000001",
                "R@3: low",
                "queries: n_tied is 7, recomputed 1",
            ],
            ["AP", "sha256"],
        ),
        (tamper_per_query, ["per_query: AP differs for 2 queries, first for 'q1': 0.5"], ["mean"]),
        (lambda p: file_of(p, "run").unlink(), ["is missing", "cannot be recomputed"], ["mean"]),
        (lambda p: file_of(p, "per_query").unlink(), ["per_query: ", "is missing"], ["recomputed"]),
        (
            lambda p: file_of(p, "run").write_bytes(b"?"),
            ["has sha256", "expected 6 columns"],
            ["mean"],
        ),
        (tamper_judgements, ["judgements: ", "nDCG@3: mean is"], ["missing"]),
    ],
)
def test_all_changes_are_named(place: Path, tamper, words, unsaid) -> None:
    score(place, "--on", "letters")
    tamper(place)
    found = call(place, "verify")
    assert found.exit_code == 1
    assert "differs  runs/mine@tiny/letters" in found.stdout
    assert "0 of 1 records verified" in found.stdout
    assert [word for word in words if word not in found.stdout] == []
    assert [word for word in unsaid if word in found.stdout.replace("runs/mine", "")] == []


def test_show_has_every_section(scored: Path) -> None:
    text = call(scored, "show", "runs/mine@tiny/letters").stdout
    for heading in ("measures", "task", "method", "evaluation rules", "environment", "provenance"):
        assert f"\n {heading}\n" in text.replace(" \n", "\n"), heading
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.split()}
    record = next(r for r in records(scored) if r.task.name == "tiny/letters")
    ndcg = record.measures["nDCG@3"]
    worst, best = f"{ndcg.worst:.4f}", f"{ndcg.best:.4f}"
    assert lines["nDCG@3"][0] == f"{ndcg.mean:.4f}"
    assert lines["nDCG@3"][-2:] == [worst, best]
    assert worst != best
    text = call(scored, "show", "runs/mine@tiny/letters", "--json").stdout
    assert from_json(text, Path("stdout")) == record


@pytest.mark.parametrize("tool", ["trec_eval", "msmarco", "beir", "mteb"])
def test_values_shown_by_another_tools_rules_are_beside_the_stored_ones(
    scored: Path, tool: str
) -> None:
    for name in ("letters", "graded", "own", "judged"):
        record = f"runs/mine@tiny/{name}"
        stored = next(r for r in records(scored) if r.task.name == f"tiny/{name}")
        text = call(scored, "show", record, "--as", tool, "--json").stdout
        rows = {row["measure"]: row for row in json.loads(text)["measures"]}
        # RR@10, all that the MS MARCO script gives, is deeper than these runs.
        assert bool(rows) == (tool != "msmarco")
        for measure in rows.keys() & stored.measures.keys():
            assert rows[measure]["ours"] == pytest.approx(stored.measures[measure].mean)
        assert tool in call(scored, "show", record, "--as", tool).stdout


def test_show_as_says_which_rule_moved_a_number(scored: Path) -> None:
    text = call(scored, "show", "runs/mine@tiny/graded", "--as", "trec_eval").stdout
    assert "recip_rank -M 3" in text
    assert "relevant is label >= 1, not label >= 2" in text
    text = call(scored, "show", "runs/mine@tiny/letters", "--as", "beir").stdout
    assert "self hits: drop, not keep" in text
