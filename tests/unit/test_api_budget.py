"""Tokens, prices and budgets of APIs."""

from __future__ import annotations

import json
import threading

import pytest

pytest.importorskip("httpx2")

from hypothesis import given
from hypothesis import strategies as st

from rankstone.encodings.metering import Meter
from rankstone.errors import ApiError, BudgetError
from rankstone.runners.api import client
from rankstone.runners.api.budget import Amount, Limit, Purse, bound, paying
from rankstone.runners.encoders.api import ApiEncoder
from rankstone.runners.meter import listening
from tests.api_servers import Api, serving

pytestmark = pytest.mark.filterwarnings("ignore::rankstone.errors.RankstoneWarning")
TEXTS = [f"word{i} of text {i % 7}" for i in range(40)]


@pytest.fixture
def api():
    with serving(Api()) as served:
        yield served


def encoder(api, **parameters):
    return ApiEncoder(base_url=api.url, model_id="words", **parameters)


def tokens(texts):
    return sum(len(text.split()) for text in texts)


def test_the_servers_tokens_are_metered_in_the_thread_that_encodes(api):
    meter = Meter(lambda texts: None)
    runner = encoder(api, price=2.0, batch_texts=7)
    runner.encode([], "document")
    with listening(meter):
        runner.encode(TEXTS, "document")
    assert meter.tokens == meter.billed_tokens == tokens(TEXTS)
    assert meter.usd == pytest.approx(tokens(TEXTS) * 2e-6)
    assert meter.work.texts == len(TEXTS)


def test_a_price_needs_the_servers_count(api):
    api.usage = False
    encoder(api).encode(["a"], "query")
    with pytest.raises(ApiError, match=r"does not count tokens.*Remove parameters\.price"):
        encoder(api, price=1.0).encode(["a"], "query")


@pytest.mark.parametrize("limit", [60, 200, 700, 1300])
def test_a_budget_is_never_exceeded_and_nothing_is_lost_where_it_lasts(api, tmp_path, limit):
    purse, runner = Purse(Limit(tokens=limit), tmp_path / "spent.json"), encoder(api, batch_texts=4)
    runs = [TEXTS] * 99
    with paying(purse), pytest.raises(BudgetError, match=r"more than is left\..*larger --budget"):
        _ = [runner.encode(run, "document") for run in runs]
    paid = sum(tokens(body["input"]) for body in api.asked)
    assert purse.spent.tokens == paid <= limit
    assert json.loads(purse.ledger.read_text())[0] >= paid
    assert limit - paid < 2 * bound(TEXTS)


def test_what_will_not_last_for_all_texts_is_not_begun(api):
    runner, purse = encoder(api, batch_texts=1), Purse(Limit(tokens=250))
    with paying(purse):
        runner.encode(TEXTS[:20], "document")  # 82 tokens, from which the rate is known
        with pytest.raises(BudgetError, match="the next 200 texts take about"):
            runner.encode(TEXTS * 5, "document")
    assert len(api.sent()) == 20


def test_an_estimate_is_not_that_of_the_probe_alone():
    """Seven bytes may be seven tokens, plus those that the server adds to a text."""
    purse = Purse(Limit(tokens=5000))
    purse.settle(Purse().reserve(["warm up"], None), ["warm up"], Amount(13))
    purse.expect(["ten bytes "] * 1000, None)
    with pytest.raises(BudgetError):
        purse.expect(["ten bytes "] * 2000, None)


def test_a_budget_of_money_needs_a_price(api):
    with paying(Purse(Limit(usd=1.0))):
        with pytest.raises(BudgetError, match=r"parameters\.price"):
            encoder(api).encode(["a"], "query")
        encoder(api, price=1.0).encode(["a"], "query")
        with pytest.raises(BudgetError, match=r"\$"):
            encoder(api, price=1e6).encode(["a"], "query")


@given(text=st.text(max_size=50))
def test_no_byte_level_tokenizer_makes_more_tokens_than_the_bound(text):
    assert len(text.encode()) < bound([text])


def test_requests_that_time_out_count_as_spent(api, monkeypatch):
    """The server may have charged them in a response that never arrived."""
    runner, one = encoder(api), bound(["a b"])
    http = runner._client._http

    def nap(seconds):
        api.arrived(2)
        http.timeout = 60

    monkeypatch.setattr(client, "sleep", nap)
    runner.encode([], "query")
    api.held_first, http.timeout = 1, 0.05
    purse = Purse(Limit(tokens=2 * one))
    with paying(purse):
        runner.encode(["a b"], "query")
        assert purse.spent.tokens == one + 2
    monkeypatch.setattr(client, "sleep", lambda seconds: None)
    api.held_first, http.timeout = 9, 0.05
    purse = Purse(Limit(tokens=2 * one))
    with paying(purse), pytest.raises(BudgetError, match="repeating a request of 1 texts"):
        runner.encode(["a b"], "query")
    assert purse.spent.tokens == 2 * one
    api.arrived(1 + 2 + 2)
    assert len(api.asked) == 1 + 2 + 2


def test_threads_share_one_purse():
    purse = Purse(Limit(tokens=2000))

    def pay():
        for _ in range(50):
            with_room = purse.reserve(["a"], None)
            purse.settle(with_room, ["a"], type(with_room)(1))

    threads = [threading.Thread(target=pay) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert purse.spent.tokens == 200
