"""Embedding and reranking APIs against a server with configurable faults."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import numpy as np
import pytest

pytest.importorskip("httpx2")

from hypothesis import given
from hypothesis import strategies as st

from rankstone.encodings.metering import Meter
from rankstone.errors import (
    ApiError,
    DefinitionError,
    RankstoneWarning,
)
from rankstone.runners.api import client
from rankstone.runners.api.budget import NOTHING, Purse, paying
from rankstone.runners.api.lengths import Lengths, batches
from rankstone.runners.encoders.api import ApiEncoder
from rankstone.runners.meter import listening
from rankstone.runners.scorers.api_rerank import ApiScorer
from tests.api_servers import DIM, Api, embedding, serving

pytestmark = pytest.mark.filterwarnings("ignore::rankstone.errors.RankstoneWarning")
TEXTS = [f"word{i} of text {i % 7}" for i in range(40)]
KEY = "sk-secret-4711"


@pytest.fixture
def api():
    with serving(Api()) as served:
        yield served


@pytest.fixture
def naps(monkeypatch):
    """Seconds that retries would sleep."""
    slept = []
    monkeypatch.setattr(client, "sleep", slept.append)
    return slept


def encoder(api, **parameters):
    return ApiEncoder(**{"base_url": api.url, "model_id": "words", "retries": 3, **parameters})


def scorer(api, **parameters):
    return ApiScorer(**{"base_url": api.url, "model_id": "words", "retries": 3, **parameters})


def units(texts, dim=DIM):
    vectors = np.array([embedding(text, dim) for text in texts])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def released(api):
    """Release the answers that are held with the first that is not."""

    def change(answer):
        api.released.set()
        return answer

    return change


def test_vectors_are_the_servers_in_the_order_of_the_texts(api):
    runner = encoder(api, batch_texts=3, concurrency=5)
    runner.encode([], "document")
    api.held_first, api.change = 4, released(api)  # they arrive after a later one
    found = runner.encode(TEXTS, "document")
    np.testing.assert_allclose(found, units(TEXTS), rtol=1e-6)
    assert found.dtype == np.float32
    assert max(len(body["input"]) for body in api.asked) == 3
    assert api.together == 5


def test_dot_keeps_the_servers_lengths_and_dimensions_are_asked_for(api):
    found = encoder(api, similarity="dot", dimensions=8).encode(TEXTS, "query")
    np.testing.assert_array_equal(found, np.array([embedding(text, 8) for text in TEXTS]))


def test_prompts_and_fields_go_by_role(api):
    runner = encoder(
        api,
        prompts={"query": "query: "},
        fields={"query": {"input_type": "query"}, "document": {"input_type": "passage"}},
    )
    runner.encode(["a"], "query")
    runner.encode(["b"], "document")
    assert [(b["input"], b["input_type"]) for b in api.asked[1:]] == [
        (["query: a"], "query"),
        (["b"], "passage"),
    ]


def test_empty_texts_are_not_sent_and_no_texts_have_a_dimension(api):
    found = encoder(api).encode(["", "a b", "  "], "document")
    np.testing.assert_array_equal(found[[0, 2]], 0)
    assert api.sent() == ["a b"]
    assert encoder(api).encode([], "document").shape == (0, DIM)


@given(
    sizes=st.lists(st.integers(0, 50), max_size=40), texts=st.integers(1, 9),
    tokens=st.integers(1, 100),
)  # fmt: skip
def test_batches_cover_all_in_order_within_both_limits(sizes, texts, tokens):
    runs = list(batches(sizes, texts=texts, tokens=tokens))
    assert [row for run in runs for row in range(len(sizes))[run]] == list(range(len(sizes)))
    for run in runs:
        assert 0 < len(sizes[run]) <= texts
        assert len(sizes[run]) == 1 or sum(sizes[run]) <= tokens
    for one, other in itertools.pairwise(runs):  # none could take the next text too
        assert len(sizes[one]) == texts or sum(sizes[one]) + sizes[other][0] > tokens


# Transient faults


def test_retry_after_is_honoured(api, naps):
    runner = encoder(api)
    runner.encode([], "query")
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    api.faults = [(429, {"Retry-After": "7"}, b""), (503, {"Retry-After": date}, b"")]
    np.testing.assert_allclose(runner.encode(["a b"], "query"), units(["a b"]), rtol=1e-6)
    assert naps[0] == 7
    assert 27 < naps[1] <= 30


def test_waits_double_at_random(api, naps):
    runner = encoder(api, retries=4)
    runner.encode([], "query")
    api.faults = [(status, {}, b"oops") for status in (500, 502, 503, 504)]
    runner.encode(["a b"], "query")
    assert all(2**n / 2 <= nap <= 2**n for n, nap in enumerate(naps))
    assert len(naps) == 4


def test_a_fault_that_stays_is_one_line(api, naps):
    runner = encoder(api)
    runner.encode([], "query")
    api.faults = [(500, {}, json.dumps({"error": {"message": "no\nGPU"}}).encode())] * 4
    with pytest.raises(ApiError, match=r"gave up after attempt 4: 500 Internal .*\(no GPU\)"):
        runner.encode(["a"], "query")
    api.faults = [(429, {"Retry-After": "86400"}, b"")]
    with pytest.raises(ApiError, match=r"after attempt 1: 429 .*wait 86400 s"):
        runner.encode(["a"], "query")


def test_a_slow_response_is_requested_again(api, naps, monkeypatch):
    runner = encoder(api, timeout=0.05)
    api.held_first = 4
    with pytest.raises(ApiError, match="gave up after attempt 4: ReadTimeout"):
        runner.encode(["a b"], "query")
    assert len(naps) == 3
    api.arrived(4)

    def nap(seconds):
        api.arrived(5)
        runner._client._http.timeout = 60

    monkeypatch.setattr(client, "sleep", nap)
    api.held_first = 1
    np.testing.assert_allclose(runner.encode(["a b"], "query"), units(["a b"]), rtol=1e-6)
    assert len(api.asked) == 4 + 2 + 1, "the probe twice"


def test_a_server_that_is_not_there_is_not_waited_for(naps):
    purse = Purse()
    with pytest.raises(ApiError, match=r"cannot be reached: ConnectError"), paying(purse):
        ApiEncoder(base_url="http://127.0.0.1:9/v1", model_id="m").encode(["a"], "query")
    assert (naps, purse.spent) == ([], NOTHING)


# Answers that are refused


def cut(answer):
    return json.dumps(answer).encode()[:-20]


def without(key):
    def change(answer):
        del answer["data"][0][key]
        return answer

    return change


def first(**values):
    return lambda answer: {**answer, "data": [{**answer["data"][0], **values}, *answer["data"][1:]]}


REFUSED = {
    "truncated": (cut, "not JSON, or is truncated: [0-9,]+ bytes"),
    "page": (lambda answer: b"<html>hello</html>", "not JSON"),
    "list": (lambda answer: [1], "no list 'data'"),
    "too few": (lambda answer: {"data": answer["data"][1:]}, "3 texts were sent and 2 answered"),
    "order": (lambda answer: {"data": answer["data"][::-1]}, "order.*'index' is 2, 1, 0"),
    "index": (without("index"), "no 'index'"),
    "words": (first(index="0"), "'index' is '0'"),
    "embedding": (without("embedding"), "no 'embedding'"),
    "null": (first(embedding=None), "expected numbers, found None"),
    "strings": (first(embedding=["1"] * DIM), "expected numbers"),
    "NaN": (first(embedding=[float("nan")] * DIM), "NaN"),
    "infinity": (first(embedding=[1e39] * DIM), "beyond float32"),
    "one": (first(embedding=[1.0] * 3), r"several dimensions: \[3, 16\]"),
    "all": (
        lambda answer: {"data": [{**row, "embedding": [1.0]} for row in answer["data"]]},
        "dimension changed from 16 to 1",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_doubtful_answer_is_refused_by_name(api, naps, name):
    runner = encoder(api)
    runner.encode([], "document")
    api.change, message = REFUSED[name]
    with pytest.raises(ApiError, match=message) as caught:
        runner.encode(["a", "b", "c"], "document")
    assert "\n" not in str(caught.value)
    assert naps == []


@pytest.mark.parametrize(
    ("status", "mend"),
    [(400, "batch_tokens"), (404, "parameters.model_id"), (413, "batch_texts"), (302, "302 Found")],
)
def test_a_refusal_is_one_line_and_not_repeated(api, naps, status, mend):
    api.faults = [(status, {}, b'{"detail": "too many\\n tokens"}')]
    with pytest.raises(ApiError, match=r"\(too many tokens\)") as caught:
        encoder(api).encode(["a"], "query")
    assert mend in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(api.asked) == 1


# The key


def test_the_key_comes_from_the_environment(api, monkeypatch):
    monkeypatch.setenv("WORDS_KEY", f"{KEY}\n")
    api.key = KEY
    runner = encoder(api, key_env="WORDS_KEY")
    runner.encode(["a"], "query")
    assert KEY not in json.dumps(runner.describe()) + repr(runner)


def test_a_wrong_key_names_its_variable_and_not_itself(api, monkeypatch):
    monkeypatch.setenv("WORDS_KEY", KEY)
    api.key = "another"
    with pytest.raises(ApiError, match=r"401 Unauthorized \(Incorrect.*\*\*\*.*'WORDS_KEY'") as e:
        encoder(api, key_env="WORDS_KEY").encode(["a"], "query")
    assert KEY not in str(e.value)
    with pytest.raises(ApiError, match=r"Name the environment variable.*parameters\.key_env"):
        encoder(api).encode(["a"], "query")


@pytest.mark.parametrize("value", [None, "", " ", "sk-\x00secret", "sk-sécret"])
def test_a_key_that_is_none_is_refused_before_anything_is_sent(api, monkeypatch, value):
    monkeypatch.delenv("WORDS_KEY", raising=False)
    if value is not None and "\x00" not in value:
        monkeypatch.setenv("WORDS_KEY", value)
    elif value:
        monkeypatch.setattr(client.os, "environ", {"WORDS_KEY": value})
    purse = Purse()
    with pytest.raises(ApiError, match="'WORDS_KEY'") as caught, paying(purse):
        encoder(api, key_env="WORDS_KEY").encode(["a"], "query")
    assert "cret" not in str(caught.value)
    assert (api.asked, purse.spent) == ([], NOTHING)


@pytest.mark.parametrize(
    "parameters",
    [
        {"base_url": f"https://user:{KEY}@host/v1"},
        {"base_url": f"https://host/v1?key={KEY}"},
        {"base_url": "host/v1"},
        {"key_env": KEY},
    ],
)
def test_a_key_in_a_definition_is_refused_without_showing_it(api, parameters):
    with pytest.raises(DefinitionError) as caught:
        encoder(api, **parameters)
    assert KEY not in str(caught.value)


# Identity


def test_the_server_describes_its_model(api):
    api.pages = {
        "/v1/models": {"data": [{"id": "other"}, {"id": "words", "created": 1, "root": "/w"}]},
        "/info": {"model_sha": "abc", "max_input_length": 512, "sha": None},
        "/api/tags": {"models": [{"name": "words:latest", "digest": "f00"}]},
    }
    with pytest.warns(RankstoneWarning, match="the weights behind an API cannot be verified"):
        body = encoder(api).describe()
    assert body["server"] == {
        "model": "words-of-crc", "root": "/w", "model_sha": "abc", "max_input_length": 512,
        "digest": "f00",
    }  # fmt: skip
    assert (body["model"], body["url"], body["dimension"]) == ("words", api.url, DIM)
    json.dumps(body)


def test_only_what_changes_an_answer_is_described(api):
    one = encoder(api).describe()
    assert encoder(api, batch_texts=2, concurrency=1, price=2.0, timeout=9.0).describe() == one
    assert encoder(api, dimensions=8).describe() != one


# Lengths


def test_characters_are_truncated_and_counted(api):
    runner = encoder(api, max_characters=5, prompts={"document": "d: "})
    runner.encode(["abc", "a"], "document")
    assert api.sent() == ["d: ab", "d: a"]
    assert runner.truncation(["abc", "a"], "document") == (2, 1, 10, 1)
    assert encoder(api).truncation(["abc"], "query") is None


def test_tokens_are_truncated_by_the_models_tokenizer(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {"[CLS]": 0, "[UNK]": 1, "a": 2, "b": 3}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A", special_tokens=[("[CLS]", 0)]
    )
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    lengths = Lengths(max_length=3, tokenizer=str(path))
    texts = ["a b a b", "a b", "a", ""]
    assert lengths.sizes(texts) == [5, 3, 2, 1]
    assert lengths.cut(texts) == ["a b", "a b", "a", ""]
    assert lengths.left_out(texts) == (4, 1, 11, 2)
    with pytest.raises(DefinitionError, match="without a tokenizer"):
        Lengths(max_length=3)


# Reranking


@pytest.mark.parametrize("style", ["cohere", "tei"])
def test_scores_come_back_in_the_order_of_the_documents(api, style):
    documents = ["x", "red fox", "red", "fox red blue", ""]
    found = scorer(api, style=style, batch_texts=2).score("red fox blue", documents)
    np.testing.assert_array_equal(found, [0, 2, 1, 3, 0])
    assert scorer(api).score("red", []).shape == (0,)


REFUSED_SCORES = {
    "twice": lambda a: {"results": [a["results"][0]] * 2},
    "few": lambda a: {"results": a["results"][:1]},
    "NaN": lambda a: {"results": [{**r, "relevance_score": float("nan")} for r in a["results"]]},
    "null": lambda a: {"results": [{**r, "relevance_score": None} for r in a["results"]]},
    "true": lambda a: {"results": [{**r, "relevance_score": True} for r in a["results"]]},
    "name": lambda a: {"results": [{"index": 0}, {"index": 1}]},
    "other": lambda a: {"answer": 1},
}


@pytest.mark.parametrize("name", REFUSED_SCORES)
def test_doubtful_scores_are_refused(api, name):
    api.change = REFUSED_SCORES[name]
    with pytest.raises(ApiError):
        scorer(api).score("a", ["a", "b"])


def test_reranking_is_described_metered_and_counted(api):
    one = scorer(api, price=1.0, max_characters=3)
    assert one.describe()["server"] == {"model": "words"}
    meter = Meter(lambda texts: None)
    with listening(meter):
        one.score("a b", ["c d e", "f"])
    assert meter.billed_tokens == 7  # "a b" twice, "c d", "f"
    assert one.truncation("a b", ["c d e", "f"]) == (2, 1, 12, 2)
