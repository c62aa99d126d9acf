"""Exact search and MaxSim on a CUDA device give the results of the CPU; a whole cell runs there.

    make gpu PYTHON=python3

Needs a CUDA device; skipped elsewhere.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from rankstone.profiling import device
from rankstone.runners.representations.ragged import ragged
from rankstone.runners.search.exact import gpu_maxsim
from rankstone.runners.search.exact.flat import ExactIndex
from rankstone.runners.search.exact.gpu import GpuIndex, exact
from rankstone.runners.search.exact.gpu_maxsim import GpuMaxSimIndex, maxsim
from rankstone.runners.search.exact.maxsim import MaxSimIndex
from rankstone.session import Session
from tests import tiny_models
from tests.unit.test_maxsim import DIM, Pieces, texts

pytestmark = pytest.mark.skipif(
    not Path("/dev/nvidiactl").exists(), reason="no CUDA device on this machine"
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few vectors are searched on the device too."""
    for module in (device, gpu_maxsim):
        monkeypatch.setattr(module, "SEARCH_BYTES", 1)


def test_exact_search_is_that_of_the_cpu(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    documents, queries = (random.integers(-2, 3, (n, 16)).astype(np.float32) for n in (70_000, 40))
    index = exact(Pieces(documents, 20_000), "cuda")
    assert isinstance(index, GpuIndex)
    index.save(tmp_path)
    scores = queries @ documents.T
    best = np.argsort(-scores, axis=1, kind="stable")[:, :500]
    for one in (index, GpuIndex.load(tmp_path)):
        docs, found = one.search(queries, 500)
        np.testing.assert_array_equal(docs, best)
        np.testing.assert_array_equal(found, np.take_along_axis(scores, best, 1))
    documents = random.standard_normal((70_000, 384), dtype=np.float32)
    queries = random.standard_normal((40, 384), dtype=np.float32)
    expected = ExactIndex.build(Pieces(documents, 20_000)).search(queries, 500)
    found = exact(Pieces(documents, 20_000), "cuda").search(queries, 500)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)  # TF32 is off by 1e-3
    assert (found.docs == expected.docs).mean() > 0.999


def test_maxsim_is_that_of_the_cpu(tmp_path: Path) -> None:
    documents, queries = ragged(texts(5000, 90, 0), DIM, "float16"), ragged(texts(40, 40, 1), DIM)
    index = maxsim(Pieces(documents, 999), "cuda")
    assert isinstance(index, GpuMaxSimIndex)
    index.save(tmp_path)
    expected = MaxSimIndex.build(Pieces(documents, 999)).search(queries, 300)
    for one in (index, GpuMaxSimIndex.load(tmp_path)):
        found = one.search(queries, 300)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
        assert (found.docs == expected.docs).mean() > 0.999


def test_a_cell_states_device_memory_and_utilisation(tmp_path: Path) -> None:
    folder = tiny_models.write_encoder(tmp_path / "tiny")
    session = Session(results=tmp_path / "results")
    [record] = session.run(str(folder), "stdlib/modules", limit_queries=50, device="cuda")
    assert record.status == "ok", record.error
    assert record.environment.device == "cuda"
    assert record.method.description["device"] == "cuda"
    phases = record.profile.phases
    assert phases["encode_documents"].peak_gpu_bytes > 0
    shares = [p.gpu_utilisation for p in phases.values() if p.gpu_utilisation is not None]
    assert all(0 <= share <= 1 for share in shares)
    assert shares or not importlib.util.find_spec("pynvml")
