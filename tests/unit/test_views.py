from __future__ import annotations

from rankstone.leaderboards.document import Table
from rankstone.leaderboards.frame import leaderboard
from rankstone.leaderboards.pages.leaderboard import tables
from rankstone.results.record import Environment, ErrorInfo, QuerySummary, RunRecord
from tests.records import demo_records, make_record


def of(*records: RunRecord) -> list[Table]:
    return tables(leaderboard(records))


def column(view: Table, *heading: str) -> list[tuple[str, str]]:
    place = next(at for at, column in enumerate(view.columns) if column.heading == heading)
    return [(row[place].text, row[place].mark) for row in view.rows]


def test_quality_then_efficiency_for_each_task() -> None:
    found = [(view.title, view.kind) for view in of(*demo_records())]
    assert found == [
        (task, kind)
        for task in ("stdlib/functions", "stdlib/modules")
        for kind in ("quality", "speed and memory")
    ]


def test_the_best_and_values_displayed_like_it_are_marked() -> None:
    quality, speed = of(
        make_record("a/x"), make_record("a/y", scale=1.0001), make_record("a/z", scale=0.5)
    )
    assert column(quality, "nDCG@10") == [(".304", "best"), (".304", "best"), (".152", "")]
    assert {mark for _, mark in column(quality, "Judged@10")} == {""}
    assert {mark for _, mark in column(speed, "docs/s")} == {"best"}


def test_one_method_wins_nothing() -> None:
    for view in of(make_record()):
        assert {cell.mark for row in view.rows for cell in row} == {""}


def test_lower_is_better_in_time_and_memory() -> None:
    _, speed = of(make_record("lexical/bm25"), make_record("dense/wordllama-256"))
    assert column(speed, "total", "p50 ms") == [("0.519", "best"), ("0.661", "")]
    assert column(speed, "peak RSS", "MiB") == [("475", ""), ("392", "best")]
    assert column(speed, "docs/s") == [("4,250", "best"), ("3,740", "")]


def test_machines_are_never_in_one_efficiency_table() -> None:
    found = of(
        make_record("lexical/bm25"), make_record("lexical/bm25", machine="0a0b0c0d", scale=0.9)
    )
    assert [view.kind for view in found] == ["quality", "speed and memory", "speed and memory"]
    assert [row[0].text for row in found[0].rows] == [
        "lexical/bm25 @4be81c07", "lexical/bm25 @0a0b0c0d",
    ]  # fmt: skip
    assert [view.subtitle for view in found[1:]] == [
        "AMD EPYC 9B45 · 2 threads · machine 4be81c07",
        "Apple M3 Max · 2 threads · machine 0a0b0c0d",
    ]


def test_nor_are_numbers_of_threads() -> None:
    slow = make_record("dense/wordllama-256")
    slow = slow.model_copy(
        update={"environment": slow.environment.model_copy(update={"threads": 1})}
    )
    assert [v.subtitle.split(" · ")[1] for v in of(slow, make_record())[1:]] == [
        "1 thread", "2 threads",
    ]  # fmt: skip


def test_unequal_data_is_never_in_one_quality_table() -> None:
    found = of(make_record(), make_record("dense/wordllama-256", corpus="corpus of 3.12"))
    assert [view.kind for view in found] == ["quality", "speed and memory"] * 2
    assert found[0].subtitle != found[2].subtitle


def test_a_failed_cell_is_listed_with_its_first_line() -> None:
    quality, _ = of(make_record(), make_record("dense/wordllama-256", status="oom"))
    assert column(quality, "nDCG@10") == [(".304", ""), ("oom", "failed")]
    assert quality.notes[-1] == (
        "dense/wordllama-256: oom: stopped at 4.0 GiB, the limit of --memory-limit,"
        " in phase encode_documents"
    )


def test_an_error_is_reported_in_full() -> None:
    error = ErrorInfo(kind="E", message=f"{'x' * 500}. Install: y")
    (quality,) = of(make_record(status="failed", error=error))
    assert quality.notes[0].endswith("xx. Install: y")
    (silent,) = of(make_record(status="failed", error=None))
    assert silent.notes == ("lexical/bm25: failed: no message",)


def test_a_failure_after_figures_is_a_note() -> None:
    quality, _ = of(make_record(), make_record(status="timeout"))
    assert len(quality.rows) == 1
    assert quality.notes[-1].startswith("lexical/bm25: timeout: ")
    assert quality.notes[-1].endswith("; the figures are of the run before")


def test_failures_alone_show_their_status() -> None:
    (quality,) = of(make_record(status="failed"), make_record("dense/e5", status="oom"))
    assert sorted(column(quality, "status")) == [("failed", "failed"), ("oom", "failed")]


def without_data(record: RunRecord, **changes: object) -> RunRecord:
    """Return a record that failed before its data was opened."""
    task = record.task.model_copy(update={"sha256": {}, **changes})
    return record.model_copy(update={"task": task})


def test_a_failure_before_the_data_opens_is_of_the_same_block() -> None:
    early = without_data(make_record(status="failed"))
    quality, _ = of(make_record(), early)
    assert len(quality.rows) == 1
    assert quality.notes[-1].endswith("; the figures are of the run before")
    # Where figures are of two sets of data, it belongs to neither.
    other = make_record("dense/e5", corpus="corpus of 3.12")
    assert [v.kind for v in of(make_record(), other, early)].count("quality") == 3


def test_a_failed_task_shows_its_own_headline() -> None:
    lost = without_data(make_record(task="z", status="oom"), headline="AP")
    assert column(of(make_record(), lost)[-1], "AP") == [("oom", "failed")]
    lost = without_data(make_record(task="z", status="oom"), headline="R@7")
    assert column(of(make_record(), lost)[-1], "status") == [("oom", "failed")]


def test_figures_from_a_cache_are_marked() -> None:
    _, speed = of(*demo_records()[:4])
    assert [text for text, _ in column(speed, "docs/s")] == ["32.7", "32.2†", "4,250", "3,740"]
    assert [text for text, _ in column(speed, "peak RSS", "MiB")][:2] == ["1,200", "1,250†"]
    assert speed.notes[0].startswith("† encodings read from the cache")


def test_queries_without_results_are_reported() -> None:
    quality, _ = of(make_record(queries=QuerySummary(n=4007, n_missing=1012, n_tied=0)))
    assert quality.notes[-1] == "lexical/bm25: 1,012 of 4,007 queries have no results and score 0"


def test_unknown_facts_are_left_out_or_called_unknown() -> None:
    """An old or foreign record may lack the digests, the threads and the processor."""
    bare = make_record()
    bare = bare.model_copy(
        update={
            "task": bare.task.model_copy(update={"sha256": {}, "n_documents": None}),
            "environment": Environment(machine="00000000"),
        }
    )
    quality, speed = of(bare, bare)
    assert quality.subtitle == "4,007 queries · split test"
    assert speed.subtitle == "unknown CPU · machine 00000000"
    assert ("docs/s",) not in [column.heading for column in speed.columns]


def test_short_names_stay_unambiguous() -> None:
    frame = leaderboard([make_record("dense/e5"), make_record("sparse/e5"), make_record()])
    quality = tables(frame, short_names=True)[0]
    assert sorted(row[0].text for row in quality.rows) == ["bm25", "dense/e5", "sparse/e5"]


def test_without_a_profile_there_is_no_efficiency_table() -> None:
    assert [view.kind for view in of(make_record(profile=None))] == ["quality"]
    assert of() == []
