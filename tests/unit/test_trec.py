from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import zstandard

from rankstone.errors import ResultsError
from rankstone.results.trec_run import Run, encode_id, read_run, write_run

LINES = "q1 Q0 d9 1 12.5 bm25\nq1 Q0 d2 2 0.1 bm25\nq2 Q0 d9 1 -3 bm25\n"


def write(path: Path, names: list[str], docs: list[list[int]], scores: list[list[float]]) -> str:
    write_run(
        path,
        [f"q{row}" for row in range(len(docs))],
        np.array(docs, np.int64).reshape(len(docs), -1),
        np.array(scores, np.float32).reshape(len(docs), -1),
        lambda positions: [names[p] for p in positions],
        "my  method",
    )
    return zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read().decode()


def rows(run: Run) -> list[tuple[str, str, float]]:
    columns = zip(run.query, run.document, run.score, strict=True)
    return [(run.query_ids[q], run.document_ids[d], float(s)) for q, d, s in columns]


def test_the_text_of_a_run(tmp_path: Path) -> None:
    text = write(tmp_path / "x.run.zst", ["a", "b c"], [[1, 0], [0, -1]], [[0.1, -2], [1e-8, -1]])
    assert text == (
        "q0 Q0 b%20c 1 0.1 my-method\nq0 Q0 a 2 -2 my-method\nq1 Q0 a 1 1e-8 my-method\n"
    )


def test_quotes_and_percent_signs_stand_for_themselves(tmp_path: Path) -> None:
    names = ['"quoted', "50%", "a,b", "ü"]
    path = tmp_path / "x.run.zst"
    write(path, names, [[0, 1, 2, 3]], [[4, 3, 2, 1]])
    assert read_run(path).document_ids == names


def test_a_run_without_results_is_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "x.run.zst"
    assert write(path, [], [[-1], [-1]], [[0], [0]]) == ""
    assert rows(read_run(path)) == []


def test_many_blocks_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rankstone.results.trec_run.LINES_PER_BLOCK", 3)
    docs = [[i, i + 1] for i in range(8)]
    write(tmp_path / "x.run.zst", [f"d{i}" for i in range(9)], docs, [[2, 1]] * 8)
    found = rows(read_run(tmp_path / "x.run.zst"))
    assert [(q, d) for q, d, _ in found] == [
        (f"q{i}", f"d{i + j}") for i in range(8) for j in (0, 1)
    ]


@pytest.mark.parametrize(
    ("names", "scores", "message"),
    [
        (["", "b"], [[2, 1]], "an id is empty"),
        (["a b", "a%20b"], [[2, 1]], "two ids are both written 'a%20b'"),
        (["a", "b"], [[2, np.nan]], "a score is NaN"),
    ],
)
def test_ids_that_a_run_file_cannot_represent(
    tmp_path: Path, names: list[str], scores: list[list[float]], message: str
) -> None:
    with pytest.raises(ResultsError, match=message):
        write(tmp_path / "x.run.zst", names, [[0, 1]], scores)


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_compressed_run_is_read_as_a_plain_one(tmp_path: Path, suffix: str) -> None:
    raw = LINES.encode()
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}[suffix]
    path = tmp_path / f"x.run{suffix}"
    # Two members in one file, as `cat a.gz b.gz` leaves them.
    path.write_bytes(pack(raw) + pack(raw.replace(b"q", b"r")))
    run = read_run(path)
    assert rows(run)[:3] == [("q1", "d9", 12.5), ("q1", "d2", np.float32(0.1)), ("q2", "d9", -3)]
    assert run.query_ids == ["q1", "q2", "r1", "r2"]
    assert run.score.dtype == np.float32


@pytest.mark.parametrize("space", ["\t", "  ", " \t "])
@pytest.mark.parametrize("end", ["\n", "\r\n", " \n"])
def test_any_white_space_separates(tmp_path: Path, space: str, end: str) -> None:
    path, regular = tmp_path / "x.run", tmp_path / "y.run"
    path.write_text(LINES.replace(" ", space).replace("\n", end), newline="")
    regular.write_text(LINES)
    assert rows(read_run(path)) == rows(read_run(regular))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q1 Q0 d3 3 0.05", "expected 6 columns .*, found 5"),
        ("q1  Q0 d3 0.05 bm25", "found 5"),
        ("q1 Q0 d3 3 0.05 bm 25", "found 7"),
        ("q1 Q0 d3 3 high bm25", "the score 'high' is not a number"),
        ("q1 Q0 d3 3 nan bm25", "the score is NaN"),
        ("q1 Q0 d2 3 0.05 bm25", "a second result for query 'q1' and document 'd2'"),
        ("q1 Q0 d\udcff 3 0.05 bm25", "not UTF-8"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "x.run"
    path.write_bytes(f"{LINES}{line}\nq3 Q0 d1 1 1 bm25\n".encode(errors="surrogateescape"))
    with pytest.raises(ResultsError, match=rf"x\.run:4: .*{message}"):
        read_run(path)


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize("space", [" ", "  "])
def test_comments_before_the_results_are_skipped(tmp_path: Path, suffix: str, space: str) -> None:
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}[suffix]
    path, plain = tmp_path / f"x.run{suffix}", tmp_path / "y.run"
    body = LINES.replace(" ", space)
    plain.write_text(LINES)
    # The last would read as six columns with a number in its place.
    head = f"# ir_metadata.start\n#\n# cores: 2\n# long: {'x' * 300_000}\n# one of 3 4 words\n"
    path.write_bytes(pack(f"{head}{body}".encode()))
    assert rows(read_run(path)) == rows(read_run(plain))
    for line, said in (("q1 Q0 d2 3 0.05 bm25", "a second result"), ("# late", "found 2")):
        path.write_bytes(pack(f"{head}{body}{line}\n".encode()))
        with pytest.raises(ResultsError, match=rf":9: .*{said}"):
            read_run(path)


@pytest.mark.parametrize("blank", ["", "  ", "\t"])
def test_blank_lines_are_left_out_and_counted_in_errors(tmp_path: Path, blank: str) -> None:
    path = tmp_path / "x.run"
    path.write_text(f"{blank}\n# a comment\n{blank}\n{LINES}{blank}\n")
    assert rows(read_run(path))[0] == ("q1", "d9", 12.5)
    assert len(rows(read_run(path))) == 3
    path.write_text(f"{blank}\n{LINES}{blank}\nq1 Q0 d2 3 0.05 bm25\n")
    with pytest.raises(ResultsError, match=r":6: a second result"):
        read_run(path)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("q 0 a 1 2 t\nq 0 b 2 1 t\nr 0 a 1 1 t\nr 0 b 2 2 t\n", ("r",)),
        ("q 0 a 2 1 t\nr 0 b 2 2 t\nq 0 b 1 0.5 t\nr 0 a 1 3 t\n", ("q",)),
        # Equal ranks and equal scores contradict nothing, nor do words.
        ("q 0 a 1 1 t\nq 0 b 1 2 t\nq 0 c 2 1 t\nq 0 d 3 1 t\n", ()),
        ("q 0 a 1 1 t\nq 0 b 1 2 t\nq 0 c 2 1.5 t\n", ("q",)),
        ("q 0 a x 1 t\nq 0 b y 2 t\n", ()),
        ("", ()),
    ],
)
@pytest.mark.parametrize("space", [" ", "  "])
def test_queries_whose_ranks_contradict_their_scores(
    tmp_path: Path, lines: str, expected: tuple[str, ...], space: str
) -> None:
    path = tmp_path / "x.run"
    path.write_text(lines.replace(" ", space))
    assert read_run(path).contradicted == expected


def test_a_file_of_comments_alone_has_no_results(tmp_path: Path) -> None:
    path = tmp_path / "x.run"
    path.write_text("# ir_metadata.start\n# ir_metadata.end")
    assert rows(read_run(path)) == []


def test_padding_makes_no_comment_of_a_result(tmp_path: Path) -> None:
    path = tmp_path / "x.run"
    path.write_text("#1 Q0\u00a0 d 1\u2003 1.5\u00a0 t\n")
    assert rows(read_run(path)) == [("#1", "d", 1.5)]


@pytest.mark.parametrize("query", ["#12", "#", "##"])
def test_a_query_may_begin_with_a_hash(tmp_path: Path, query: str) -> None:
    path = tmp_path / "x.run.zst"
    docs, scores = np.array([[0]]), np.ones((1, 1), np.float32)
    write_run(path, [query], docs, scores, lambda _: ["d"], "t")
    assert rows(read_run(path)) == [(query, "d", 1.0)]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_truncated_file_is_an_error(tmp_path: Path, suffix: str) -> None:
    raw = np.random.default_rng(0).bytes(100_000).hex().encode()
    pack = gzip.compress if suffix == ".gz" else zstandard.ZstdCompressor().compress
    path = tmp_path / f"x.run{suffix}"
    path.write_bytes(pack(raw)[:5000])
    with pytest.raises(ResultsError, match=r"x\.run"):
        read_run(path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="no such file"):
        read_run(tmp_path / "absent.run")


def test_known_ids_come_back(tmp_path: Path) -> None:
    path = tmp_path / "x.run.zst"
    names = ["a b", "tab\there", "narrow\u2009space", "plain"]
    write(path, names, [[0, 1, 2, 3]], [[4, 3, 2, 1]])
    assert read_run(path).document_ids == [encode_id(name) for name in names]
    assert read_run(path, known=names).document_ids == names
    assert read_run(path, known=iter(names)).document_ids == names


def test_an_ambiguous_known_id_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.run"
    path.write_text("q Q0 a%20b 1 1 t\n")
    with pytest.raises(ResultsError, match="two known ids"):
        read_run(path, known=["a b", "a%20b"])
