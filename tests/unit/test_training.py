"""Methods trained on a training split: their records, scores and display."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

import rankstone
from rankstone.benchmarks.dataset import Judgements, Sources
from rankstone.benchmarks.store import open_dataset
from rankstone.errors import DataError
from rankstone.execution.training import seen, taught_by_split, trained_on
from rankstone.leaderboards.board_spec import TableSpec
from rankstone.leaderboards.boards import board
from rankstone.leaderboards.formats.render import render
from rankstone.leaderboards.pages import board as board_page
from rankstone.leaderboards.pages import leaderboard as leaderboard_page
from rankstone.leaderboards.pages.report import report
from rankstone.leaderboards.records import page as record_page
from rankstone.leaderboards.trained import zero_shot
from rankstone.results.record import TRAINING, Measure, RunRecord, Unseen
from rankstone.results.serialise import from_json
from rankstone.runners.construct import build_runner, parts, untrained
from rankstone.scoring.verification import _unseen
from rankstone.specs import MethodSpec, TaskSpec
from rankstone.training.data import Documents, Examples
from rankstone.training.losses.by_name import form_of
from rankstone.training.samplers import LIBRARY, OWN
from rankstone.training.starts import STARTS
from rankstone.workspace import Workspace
from tests.beir_layout import write_beir
from tests.conftest import ROOT
from tests.records import make_record, make_trained_record

pytestmark = pytest.mark.usefixtures("forked_cells")

TASK = "stdlib/functions"


def judgements(pairs: list[tuple[int, int, int]]) -> Judgements:
    rows, documents, labels = np.array(pairs, dtype=np.int64).reshape(-1, 3).T
    return Judgements(query=rows, document=documents, label=labels.astype(np.int32))


def dataset(train: Any, test: Any, n: int, relevance: int = 1) -> Any:
    return SimpleNamespace(
        train_judgements=judgements(train),
        judgements=judgements(test),
        query_ids=[f"q{i}" for i in range(n)],
        task=SimpleNamespace(relevance=relevance),
    )


pair = st.tuples(st.integers(0, 5), st.integers(-1, 8), st.integers(0, 2))


@given(st.lists(pair, unique_by=lambda p: p[:2]), st.lists(pair, unique_by=lambda p: p[:2]),
       st.integers(1, 2))  # fmt: skip
def test_unseen_queries_have_no_relevant_document_of_training(train, test, least) -> None:
    taught = {doc for _, doc, label in train if label >= least and doc >= 0}
    shared = [(query, doc) for query, doc, label in test if label >= least and doc in taught]
    whole = dataset(train, test, 6, least)
    found = seen(whole, taught_by_split(whole))
    if not shared:
        assert found is None
        return
    assert found is not None
    assert found.judgements == len(shared)
    assert found.relevant == sum(label >= least for _, _, label in test)
    assert {row for row in range(6) if not found.unseen[row]} == {query for query, _ in shared}


MODEL = {"id": "someone/model"}
ELSEWHERE = {"name": "nq/beir", "description": "d", "loader": "beir", "dataset": "nq/beir"}
TEACHER = {"name": "a/t", "description": "d", "adapter": "dense", "model": MODEL,
           "trained_on": ["msmarco"]}  # fmt: skip
RECIPE = {"data": [ELSEWHERE], "loss": "margin_mse", "steps": 1, "teacher": TEACHER}
"""Data of another collection, and a teacher that knows this one."""


@pytest.mark.parametrize(
    ("changes", "options", "expected"),
    [
        ({}, {}, ["none"]),
        ({}, {"fitted": True}, ["corpus"]),
        ({}, {"fitted": True, "learnt": True}, [TRAINING]),
        ({"model": MODEL}, {}, []),
        ({"adapter": "theirs.module:Theirs"}, {}, []),
        ({"adapter": "object"}, {}, []),
        ({"adapter": "object"}, {"fitted": True}, ["corpus"]),
        ({"model": MODEL}, {"learnt": True}, [TRAINING]),
        ({"model": MODEL, "trained_on": ["nq"]}, {}, ["other"]),
        ({"model": MODEL, "trained_on": ["msmarco", "nq"]}, {}, [TRAINING, "other"]),
        ({"model": MODEL, "trained_on": ["nq"]}, {"fitted": True}, ["corpus", "other"]),
        ({"model": MODEL, "training": RECIPE}, {}, [TRAINING, "other"]),
    ],
)
def test_what_a_method_was_trained_on_is_that_of_its_parts(
    changes: Any, options: Any, expected: list[str]
) -> None:
    given = {"name": "a/x", "description": "d", "adapter": "dense", **changes}
    method = MethodSpec.model_validate_json(json.dumps(given))
    task = TaskSpec(
        name="msmarco/dev", description="d", loader="beir", dataset="msmarco/passage", split="dev"
    )
    found = trained_on(method, task, **{"learnt": False, "fitted": False, **options})
    assert found == expected
    outer = MethodSpec(name="a/y", description="d", adapter="two_stage", members=(method,))
    assert trained_on(outer, task, **{"learnt": False, "fitted": False, **options}) == expected


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A workspace with a collection; two of its three test documents occur in training."""
    words = ["apple", "bread", "cider", "dates", "egg", "flour", "grape", "honey"]
    documents = {f"d{i}": f"{word} {word} common" for i, word in enumerate(words)}
    queries = {f"q{i}": word for i, word in enumerate(words)}
    queries |= {f"t{i}": f"common {word}" for i, word in enumerate(words)}
    judged = {"test": [(f"q{i}", f"d{i}") for i in (0, 1, 2)],
              "train": [(f"t{i}", f"d{i}") for i in (0, 1, 5)]}  # fmt: skip
    write_beir(tmp_path / "data" / "tiny" / "words", documents, queries, **judged)
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "tiny.toml").write_text(
        '[tasks.words]\ndescription = "d"\nloader = "beir"\ntrain_split = "train"\n'
        'depth = 5\nmeasures = ["nDCG@5", "RR@5"]\nheadline = "nDCG@5"\n'
    )
    (tmp_path / "runners" / "toy").mkdir(parents=True)
    toys = tmp_path / "runners" / "toy"
    (toys / "plain.toml").write_text('description = "d"\nadapter = "bm25"\n')
    (toys / "other.toml").write_text(
        'description = "d"\nadapter = "bm25"\n[parameters]\nk1 = 0.1\nb = 0.0\n'
    )
    (toys / "tuned.toml").write_text(
        'description = "d"\nadapter = "weighted_fusion"\nmembers = ["toy/plain", "toy/other"]\n'
        '[parameters]\nnormalisation = "zscore"\nweights = "tuned"\n'
    )
    return tmp_path


def test_the_only_training_query_cannot_be_held_out() -> None:
    queries = [("q", np.array([0])), ("r", np.array([1]))]

    def split(n: int) -> tuple[Examples, Examples]:
        asked, relevant = zip(*queries[:n], strict=True)
        return Examples(asked, relevant, Documents(()), np.arange(n)).split(0.1, 0)

    assert [len(part.queries) for part in split(2)] == [1, 1]
    with pytest.raises(DataError, match=r"'held_out' .* only one"):
        split(1)


def test_a_cell_that_takes_training_queries_says_so(place: Path) -> None:
    records = {
        record.method.name: record
        for record in rankstone.run(
            ["toy/plain", "toy/tuned"], "tiny/words", workspace=place, data=place / "data",
            results=place / "results", cache=place / "cache",
        )
    }  # fmt: skip
    plain, tuned = records["toy/plain"], records["toy/tuned"]
    assert (plain.error, tuned.error) == (None, None)
    assert (plain.method.trained_on, plain.unseen) == (["none"], None)
    assert tuned.method.trained_on == [TRAINING]
    assert tuned.unseen is not None
    assert (tuned.unseen.queries, tuned.unseen.seen_judgements) == (1, 2)
    assert tuned.unseen.relevant_judgements == 3
    assert tuned.unseen.measures["nDCG@5"].n == 1
    session = rankstone.Session(
        workspace=place, data=place / "data", results=place / "results", cache=place / "cache"
    )
    for record, path in session.records():
        assert session.verify(record, path) == []

    again = session.run(["toy/tuned"], ["tiny/words"])
    assert again[0].key == tuned.key, "reused"
    train = place / "data" / "tiny" / "words" / "qrels" / "train.tsv"
    train.write_text(train.read_text().replace("t5\td5", "t6\td6"))
    changed = session.run(["toy/tuned"], ["tiny/words"])
    assert changed[0].key != tuned.key, "its training data changed"


def test_defined_recipes_name_tasks_losses_and_samplers() -> None:
    space = Workspace.find(ROOT)
    defined = [space.method(name) for name in space.method_names() if name.startswith("trained/")]
    found = [(part, recipe) for spec in defined for _, part in parts(spec)
             if (recipe := part.training)]  # fmt: skip
    assert len(found) >= len(defined) >= 27
    for part, recipe in found:
        assert all(task == "own" or task.train_split for task in recipe.data)  # type: ignore[union-attr]
        assert part.adapter in STARTS
        form = form_of(part.adapter, recipe.loss, recipe.options)
        assert (form in ("scores", "taught")) == isinstance(recipe.teacher, MethodSpec)
        assert recipe.sampler in (*LIBRARY, *OWN)
    assert all(build_runner(untrained(spec)) for spec in defined)


def trained(scale: float = 1.5) -> RunRecord:
    record = make_record("compressed/jpq", scale=scale)
    method = record.method.model_copy(update={"trained_on": [TRAINING]})
    apart = Unseen(
        queries=109, seen_judgements=216, relevant_judgements=339,
        measures={"nDCG@10": Measure(mean=0.48)},
    )  # fmt: skip
    return record.model_copy(update={"method": method, "unseen": apart})


PLAIN = make_record("lexical/bm25")


@pytest.mark.parametrize("form", ["markdown", "latex", "html", "terminal"])
def test_every_view_tells_trained_from_zero_shot(form: str, tmp_path: Path) -> None:
    stored = [(record, tmp_path / "r.json") for record in (trained(), PLAIN)]
    spec = TableSpec(name="b", title="b", tasks=(TASK,))
    pages = [
        leaderboard_page.page([record for record, _ in stored]),
        board_page.page(board(spec, stored, tasks=[TASK])),
        record_page.page(trained()),
        report(stored),
    ]
    for page in pages:
        text = " ".join(render(page, form, width=250).split())
        assert "216 of 339 relevant judgements" in text
        assert ".480 on 109 others" in text
    for page in pages[:2]:
        text = render(page, form, width=250)
        assert "compressed/jpq (trained)" in text
        assert "lexical/bm25 (trained)" not in text


@pytest.mark.parametrize("form", ["markdown", "latex", "html", "terminal"])
def test_the_page_of_a_record_shows_training_and_loss(form: str) -> None:
    text = " ".join(render(record_page.page(make_trained_record()), form, width=200).split())
    for shown in ("weights of step 400 kept", "18,020 queries, 2,002 held out", "812", "held-out"):
        assert shown in text


def test_programs_read_it_and_boards_leave_it_out(tmp_path: Path) -> None:
    stored = [(record, tmp_path / "r.json") for record in (trained(), PLAIN)]
    spec = TableSpec(name="b", title="b", tasks=(TASK,))
    page = board_page.page(board(spec, stored, tasks=[TASK]))
    rows = {row["method"]: row for row in csv.DictReader(io.StringIO(render(page, "csv")))}
    assert {name: row["trained"] for name, row in rows.items()} == {
        "compressed/jpq": "True", "lexical/bm25": "False",
    }  # fmt: skip
    frame = json.loads(render(leaderboard_page.page([trained(), PLAIN]), "json"))
    assert [row["trained_on"] for row in frame] == [TRAINING, None]
    apart = spec.model_copy(update={"zero_shot": True})
    assert [name for name, _ in board(apart, stored, tasks=[TASK]).rows] == ["lexical/bm25"]
    assert zero_shot([trained(), PLAIN]) == [PLAIN]


def test_verify_recomputes_the_figures_of_unseen_queries() -> None:
    values = SimpleNamespace(
        unseen=np.array([True, False, True]), measures={"nDCG@10": np.array([0.4, 1.0, 0.6])}
    )
    good = Unseen(queries=2, seen_judgements=1, relevant_judgements=3,
                  measures={"nDCG@10": Measure(mean=0.5)})  # fmt: skip
    assert list(_unseen(PLAIN.model_copy(update={"unseen": good}), values)) == []  # type: ignore[arg-type]
    bad = good.model_copy(update={"queries": 3, "measures": {"nDCG@10": Measure(mean=0.6)}})
    faults = list(_unseen(PLAIN.model_copy(update={"unseen": bad}), values))  # type: ignore[arg-type]
    assert len(faults) == 2
    assert list(_unseen(PLAIN, values))  # type: ignore[arg-type]


def published(task: str) -> set[str]:
    """Return the methods of published records of `task` that were trained on its training split."""
    folder = ROOT / "results" / "reference" / "search" / task
    records = [from_json(path.read_bytes(), path) for path in folder.rglob("*@*.json")]
    assert len(records) > 30
    return {record.method.name for record in records if record.is_trained}


def test_published_records_of_learners_are_known_as_such() -> None:
    assert published("classic/cranfield") == set(), "it has no training split"
    assert published("beir/scifact") == {
        "compressed/minilm-jpq48", "compressed/minilm-repconc48", "hubness/minilm-is",
        "hubness/minilm-qbnorm", "hubness/minilm-dualis", "hubness/minilm-dualdis",
        "hybrid/zscore-bm25-minilm-tuned", "rerank/minilm-tokens-anncur",
    }  # fmt: skip


def judged(data_folder: Path, split: str) -> list[list[str]]:
    """Return the rows of the judgements in the archive of SciFact."""
    archive = zstandard.open(data_folder / "beir" / "scifact.tar.zst", "rb")
    with archive as raw, tarfile.open(fileobj=raw, mode="r|") as files:
        for member in files:
            if member.name.endswith(f"qrels/{split}.tsv"):
                file = files.extractfile(member)
                assert file is not None
                return [line.split("\t") for line in file.read().decode().splitlines()[1:]]
    raise AssertionError(split)


def test_scifact_shares_216_of_339_test_judgements_with_training(
    data_folder: Path, tmp_path: Path
) -> None:
    """Compare counts from the files with the rule over the prepared collection."""
    train, test = (judged(data_folder, split) for split in ("train", "test"))
    taught = {doc for _, doc, label in train if int(label) > 0}
    shared = [(query, doc) for query, doc, _ in test if doc in taught]
    assert (len(shared), len(test)) == (216, 339)
    task = Workspace.find(ROOT).task("beir/scifact")
    opened = open_dataset(task, Sources(data=data_folder, cache=tmp_path))
    found = seen(opened, taught_by_split(opened))
    assert found is not None
    assert (found.judgements, found.relevant) == (216, 339)
    queries = np.array(opened.query_ids)
    assert set(queries[~found.unseen]) == {query for query, _ in shared}
