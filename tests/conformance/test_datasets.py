"""Every task definition whose data is within reach opens, and is the data it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rankstone.benchmarks.dataset import Dataset, Sources
from rankstone.benchmarks.loaders.beir import mirrored
from rankstone.benchmarks.store import open_dataset, verify_dataset
from rankstone.workspace import Workspace

TASKS = Workspace.find(Path(__file__).parents[2]).tasks
EMBEDDED = sorted(name for name in TASKS if name.startswith("stdlib/"))
# first and last document, first and last query of the split
ENDS = {
    "beir/nfcorpus": ("MED-10", "MED-999", "PLAIN-2", "PLAIN-3472"),
    "beir/scifact": ("4983", "198309074", "1", "1395"),
    "classic/cranfield": ("1", "1400", "1", "225"),
    "classic/noveleval": ("0-0", "20-19", "0", "20"),
    "code/cosqa": ("code-0", "code-6266", "cosqa-train-12467", "cosqa-train-13423"),
    "loco/leval-longdoc": (
        "coursera-0", "tv_show_summ-12", "gov_report_summ-0-q0", "tv_show_summ-13-q0"
    ),
    "loco/qmsum-meetings": (
        "test-education_13", "train-education_14", "education_13-g0", "TS3011b-s5"
    ),
    "loco/qmsum-scrolls": ("Passage_0", "Passage_271", "Query_0", "Query_271"),
    "msmarco/dl-pool": ("159", "8841030", "19335", "1136962"),
    "msmarco/dl-pool-19": ("159", "8841030", "19335", "1133167"),
    "msmarco/dl-pool-20": ("159", "8841030", "23849", "1136962"),
    "nq/gold": ("p0", "p2587", "nq0", "nq2654"),
    "nq/gold-answers": ("p0", "p2587", "nq0", "nq2654"),
    "nq/squad-dev": (
        "Super_Bowl_50#0", "Force#43", "56be4db0acb8001400a502ec", "5737aafd1c456719005744ff"
    ),
    "nq/utd": ("Autos_d471", "Technology_d470", "Sports_q1", "Games_q8"),
}  # fmt: skip
LOCAL = sorted(ENDS)
N_TRAIN = {"beir/scifact": (809, 919), "code/cosqa": (500, 500)}
"""Training queries and their judgements."""
WARNINGS = {
    "beir/nfcorpus": "beir/nfcorpus: no training split 'train' in ",
    "classic/cranfield": "classic/cranfield: 2 documents are empty",
}


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def check(data: Dataset) -> None:
    """What holds of every data set."""
    n_documents, n_queries = len(data.corpus), len(data.query_ids)
    judged = data.judgements
    assert n_documents == len(data.corpus.texts(0, n_documents))
    assert len(data.query_texts) == n_queries == len(set(data.query_ids))
    if data.task.judge == "judgements":
        assert data.answers is None
        assert np.array_equal(np.unique(judged.query), np.arange(n_queries))
    else:
        assert data.answers is not None
        assert len(data.answers) == n_queries
        assert all(data.answers)
        assert len(judged.query) == 0
    assert judged.document.min(initial=0) >= -1
    assert judged.document.max(initial=0) < n_documents
    assert np.array_equal(np.lexsort((judged.document, judged.query)), np.arange(len(judged.query)))
    assert {len(judged.query)} == {len(judged.document), len(judged.label)}
    assert set(data.train_queries).isdisjoint({""})
    positions = data.self_positions
    found = np.flatnonzero(positions >= 0)
    assert positions.shape == (n_queries,)
    assert data.corpus.ids(positions[found]) == [data.query_ids[n] for n in found]


FILTERED = {
    "filtered/cranfield-50": (212, 13), "filtered/cranfield-10": (109, 116),
    "filtered/cranfield-1": (19, 206), "filtered/scifact-50": (136, 164),
    "filtered/scifact-10": (63, 237), "filtered/scifact-1": (7, 293),
    "filtered/dl-pool-0.1": (10, 87),
}  # fmt: skip
"""Queries that are asked, and those without a judged document that passes."""


@pytest.mark.parametrize("name", LOCAL)
def test_a_local_collection_has_the_counts_and_ends_of_its_definition(
    name: str, data_folder: Path, cache: Path
) -> None:
    task = TASKS[name]
    sources = Sources(data=data_folder, cache=cache)
    data = open_dataset(task, sources)
    check(data)
    first, last = data.corpus.ids(np.array([0, len(data.corpus) - 1]))
    assert (first, last, data.query_ids[0], data.query_ids[-1]) == ENDS[name]
    unpinned = {what for what, count in task.counts if count is None}
    assert unpinned == ({"judgements"} if task.judge == "answers" else set())
    trained = data.train_judgements
    assert (len(data.train_queries), len(trained.query)) == N_TRAIN.get(name, (0, 0))
    assert set(trained.query.tolist()) == set(range(len(data.train_queries)))
    assert ((trained.document >= 0) & (trained.document < len(data.corpus))).all()
    assert len(data.warnings) == (name in WARNINGS)
    assert "".join(data.warnings).startswith(WARNINGS.get(name, ""))
    assert data.n_unknown_documents == 0
    assert verify_dataset(task, sources) == data.sha256


def test_every_local_collection_is_pinned_here(data_folder: Path, cache: Path) -> None:
    sources = Sources(data=data_folder, cache=cache)
    here = (n for n, t in TASKS.items() if mirrored(t.dataset, sources) is not None)
    assert sorted(name for name in here if name not in FILTERED) == LOCAL


@pytest.mark.parametrize("name", FILTERED)
def test_filtered_tasks_let_as_many_pass_as_their_names_state(
    name: str, data_folder: Path, cache: Path
) -> None:
    data = open_dataset(TASKS[name], Sources(data=data_folder, cache=cache))
    check(data)
    assert data.filters is not None
    stated = float(name.rpartition("-")[2]) / 100
    near = pytest.approx([stated] * len(data.query_ids), rel=0.02, abs=1 / len(data.corpus))
    assert data.filters.shares == near
    assert (len(data.query_ids), data.filters.n_unjudged) == FILTERED[name]
    where = data.filters.wheres[0]
    assert where is not None
    assert where.passes[data.judgements.document].all()


def test_official_judgements_name_passages_outside_of_the_pool(
    data_folder: Path, cache: Path
) -> None:
    pool = TASKS["msmarco/dl-pool-19"]
    official = pool.model_copy(update={"split": "official-dl19", "counts": type(pool.counts)()})
    data = open_dataset(official, Sources(data=data_folder, cache=cache))
    check(data)
    assert (len(data.judgements.label), data.n_unknown_documents) == (9260, 9260 - 5698)
    assert "3562 judgements of documents the corpus does not hold" in data.warnings[-1]


@pytest.mark.parametrize(
    "name",
    # It takes seconds, and differs from functions-500 in its number of documents alone.
    [pytest.param(n, marks=pytest.mark.slow) if n.endswith("-5000") else n for n in EMBEDDED],
)
def test_an_embedded_collection_is_whole_and_its_documents_do_not_hold_the_queries(
    name: str, session_cache: Path
) -> None:
    data = open_dataset(TASKS[name], Sources(data=None, cache=session_cache))
    check(data)
    assert data.warnings == ()
    assert set(data.judgements.label.tolist()) == {1}
    share = len(data.train_queries) / (len(data.train_queries) + len(data.query_ids))
    assert 0.15 < share < 0.25
    least = {
        "stdlib/functions": (4500, 2900), "stdlib/functions-500": (499, 290),
        "stdlib/functions-5000": (4499, 290), "stdlib/modules": (350, 200),
    }[name]  # fmt: skip
    assert (len(data.corpus), len(data.query_ids)) > least
    text = data.corpus.take(data.judgements.document[:1])[0]
    assert data.query_texts[0] not in " ".join(text.split())
