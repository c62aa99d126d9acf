"""Listwise re-ranking: windows, repair of answers, prompts, a local model and a chat server."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankstone.errors import ApiError, BudgetError, DefinitionError
from rankstone.runners.api import client
from rankstone.runners.api.budget import Limit, Purse, paying
from rankstone.runners.compose.two_stage import TwoStage
from rankstone.runners.encoders.bm25 import BM25
from rankstone.runners.meter import Work, listening
from rankstone.runners.protocols import STRICT
from rankstone.runners.scorers import listwise
from rankstone.runners.scorers.api_listwise import ApiListwise
from rankstone.runners.scorers.listwise import Listwise, ranked, slid
from rankstone.runners.scorers.listwise_reranker import ListwiseReranker
from rankstone.runners.search.blackbox.anncur import AnnCur
from rankstone.runners.testing import PlainContext
from tests.api_servers import Api, serving

pytestmark = pytest.mark.filterwarnings("ignore::rankstone.errors.RankstoneWarning")

# Answers


@pytest.mark.parametrize(
    ("answer", "order", "faults"),
    [
        ("[2] > [1] > [3]", [1, 0, 2], ()),
        ("Ranking: [ 3 ] > [2] > [1].", [2, 1, 0], ()),
        ("3 > 1 > 2", [2, 0, 1], ()),
        ("<think>is [1] best? no</think>[3] > [2] > [1]", [2, 1, 0], ()),
        ("[3] > [1", [2, 0, 1], (listwise.INCOMPLETE,)),
        ("[3]", [2, 0, 1], (listwise.INCOMPLETE,)),
        ("[2] > [2] > [1] > [3]", [1, 0, 2], (listwise.REPEATED,)),
        ("[7] > [2] > [1] > [3] > [0]", [1, 0, 2], (listwise.UNKNOWN,)),
        ("I cannot rank these 3 passages.", [0, 1, 2], (listwise.NOTHING,)),
        ("<think>[3] > [2] > [1] and then", [0, 1, 2], (listwise.NOTHING,)),
        ("", [0, 1, 2], (listwise.NOTHING,)),
        ("[99999999999999999999]", [0, 1, 2], (listwise.NOTHING,)),
    ],
)
def test_answers_are_read_and_repaired(answer, order, faults):
    assert ranked(answer, 3) == (order, faults)


ANSWERS = st.one_of(
    st.text(max_size=60),
    st.lists(st.integers(-3, 30)).map(lambda ids: " > ".join(f"[{one}]" for one in ids)),
)


@given(answer=ANSWERS, n=st.integers(1, 25))
def test_every_answer_becomes_a_permutation(answer, n):
    order, faults = ranked(answer, n)
    assert sorted(order) == list(range(n))
    named = [int(one) - 1 for one in re.findall(r"\[(\d+)\]", answer, re.ASCII)]
    rest = [one for one in order if one not in named]
    assert rest == sorted(rest) or not named, "what is left out keeps its order"
    if sorted(named) == list(range(n)):
        assert (order, faults) == (named, ())


# Windows


@given(
    relevance=st.lists(st.integers(0, 9), min_size=2, max_size=60),
    window=st.integers(2, 25),
    data=st.data(),
)
def test_a_perfect_ranker_brings_the_best_to_the_top(relevance, window, data):
    step, seen = data.draw(st.integers(1, window)), []

    def perfect(rows):
        seen.append(rows)
        return sorted(rows, key=lambda row: -relevance[row])

    order = slid(len(relevance), window, step, perfect)
    assert sorted(order) == list(range(len(relevance)))
    assert {row for rows in seen for row in rows} == {*order}, "each is in a window"
    assert max(map(len, seen)) <= window
    best = sorted(relevance, reverse=True)[: window - step]
    assert [relevance[row] for row in order[: len(best)]] == best


def test_windows_are_those_of_the_paper():
    seen = []
    slid(100, 20, 10, lambda rows: seen.append(rows[0]) or rows)
    assert seen == [80, 70, 60, 50, 40, 30, 20, 10, 0]


# Scores, notes and limits, by a scripted model


@pytest.fixture
def scripted():
    """Factory of scorers whose model is a function of query and passages."""
    from pydantic.dataclasses import dataclass

    @dataclass(frozen=True, kw_only=True, config=STRICT)
    class Scripted(Listwise):
        requires = {}  # noqa: RUF012
        said: object

        def describe(self):
            return self.listed()

        def prepare(self):
            pass

        def answer(self, query, passages):
            return self.said(query, passages)

    return lambda said, **more: Scripted(said=said, **more)


def perfect(query, passages):
    """Rank by the number in the text."""
    values = [float(re.search(r"\d+", text)[0]) for text in passages]
    order = sorted(range(len(values)), key=lambda place: -values[place])
    return " > ".join(f"[{place + 1}]" for place in order)


def test_scores_give_the_order_of_the_windows(scripted):
    values = np.random.default_rng(0).permutation(57).tolist()
    scores = scripted(perfect).score("q", [f"value {value}" for value in values])
    order = np.argsort(-scores)
    assert [values[place] for place in order[:10]] == [56 - rank for rank in range(10)]
    assert sorted(scores) == list(range(1, 58))
    assert scripted(perfect).score("q", ["1"]).tolist() == [1.0]
    assert scripted(perfect).score("q", []).shape == (0,)


def test_malformed_answers_are_noted_in_the_record(scripted, tmp_path):
    answers = iter(["[1] > [2]", "no idea", "[2] > [2]"])
    scorer = scripted(lambda query, passages: next(answers), window=2, step=1)
    runner = TwoStage(members=(BM25(),), scorer=scorer, depth=4)
    texts = [f"fox {word}" for word in ("a", "b", "c", "d")]
    index = runner.index(None, PlainContext(texts=texts, work=tmp_path))
    assert index.notes() == []
    hits = index.search(runner.encode(["fox"], "query"), 4)
    assert sorted(hits.docs[0].tolist()) == [0, 1, 2, 3]
    (note,) = index.notes()
    assert note.startswith("2 of 3 answers of the language model, those to timed queries included")
    for kind in (listwise.NOTHING, listwise.INCOMPLETE, listwise.REPEATED):
        assert f"1 {kind}" in note


def test_passages_are_limited_in_words_and_hold_no_identifiers(scripted):
    seen = []
    scorer = scripted(lambda query, passages: seen.append(passages) or "[1]", passage_words=3)
    assert listwise.shortened(["a  b [2] c", ""], 3) == ["a b (2)", ""]
    assert scorer.truncation("q", ["a b c d"] * 20 + ["a"]) == (21, 20, 81, 20)
    assert scorer.truncation("q", ["a b c d"] * 10) == (10, 0, 40, 0)
    assert scorer.truncation("q", []) == (0, 0, 0, 0)


def test_parameters_that_do_not_go_together(scripted):
    model = {"base_url": "http://x/v1", "model_id": "m"}
    with pytest.raises(DefinitionError, match="some would be in none"):
        ApiListwise(**model, step=21)
    with pytest.raises(DefinitionError, match="rankzephyr, rankvicuna"):
        ApiListwise(**model, prompt="rankgpt")
    with pytest.raises(DefinitionError, match="State both, or neither"):
        ApiListwise(**model, price=1.0)
    with pytest.raises(DefinitionError, match=r"cannot be compared.*two_stage"):
        AnnCur(scorer=scripted(perfect))


# A chat server


class Chat(Api):
    """Server that ranks passages by the words shared with the query, or answers `said`."""

    said: object = None
    reason = "stop"

    def answer(self, path, body):
        assert path == "/v1/chat/completions"
        user = body["messages"][1]["content"]
        passages = re.findall(r"^\[(\d+)\] (.*)$", user, re.MULTILINE)
        query = re.search(r"^Search Query: (.*)\.$", user, re.MULTILINE)[1]
        shared = {int(n): len({*query.split()} & {*text.split()}) for n, text in passages}
        order = sorted(shared, key=lambda n: -shared[n])
        text = " > ".join(f"[{n}]" for n in order) if self.said is None else self.said
        message = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": len(user.split()), "completion_tokens": 7}
        return {"choices": [{"message": message}], "usage": usage, "model": "chat-1"}


@pytest.fixture
def api():
    pytest.importorskip("httpx2")
    with serving(Chat()) as served:
        yield served


def scorer(api, **parameters):
    return ApiListwise(**{"base_url": api.url, "model_id": "m", "retries": 2, **parameters})


TEXTS = ["x", "red fox", "red [1] x", "fox red blue", "y z"]


def test_a_chat_server_ranks(api):
    one = scorer(api, window=3, step=1, fields={"seed": 3})
    scores = one.score("red fox blue", TEXTS)
    assert np.argsort(-scores)[:2].tolist() == [3, 1]
    body = api.asked[0]
    assert {key: body[key] for key in ("temperature", "max_tokens", "seed", "model")} == {
        "temperature": 0, "max_tokens": 256, "seed": 3, "model": "m",
    }  # fmt: skip
    assert "[1] red (1) x\n[2] fox red blue\n[3] y z\n" in body["messages"][1]["content"]
    assert one.notes() == []
    described = json.loads(json.dumps(one.describe()))
    assert described["server"]["model"] == "chat-1"
    assert described["prompt"]["prefix"].startswith("I will provide you with {num} passages")


@pytest.mark.parametrize("said", [None, "", "[9]", "[2] > [2] >", "[3] > [1"])
def test_doubtful_answers_are_repaired_and_counted(api, said):
    api.change = lambda answer: {
        **answer, "choices": [{"message": {"role": "assistant", "content": said}}],
    }  # fmt: skip
    one = scorer(api)
    assert sorted(one.score("red", TEXTS)) == [1, 2, 3, 4, 5]
    assert one.notes()[0].startswith("1 of 1 answers")


@pytest.mark.parametrize(
    "answer", [{"choices": []}, {"choices": [{}]}, {"answer": 1}, [1], {"choices": [
        {"message": {"content": [1]}}]}, b'{"choices": [{"message": {"cont'],
)  # fmt: skip
def test_an_answer_of_another_shape_is_an_error(api, answer):
    api.change = lambda _: answer
    with pytest.raises(ApiError):
        scorer(api).score("red", TEXTS)


def test_transient_faults_are_retried(api, monkeypatch):
    slept = []
    monkeypatch.setattr(client, "sleep", slept.append)
    api.faults = [(429, {"Retry-After": "7"}, b""), (500, {}, b"")]
    assert scorer(api).score("red", TEXTS).shape == (5,)
    assert slept[0] == 7.0
    assert len(api.asked) == 3


def test_tokens_read_and_written_are_priced_and_bounded(api):
    one = scorer(api, price=1.0, price_written=10.0)
    heard = []
    with listening(heard.append):
        one.score("red", TEXTS)
    read = len(api.asked[0]["messages"][1]["content"].split())
    assert heard == [Work(5, read + 7, 0.0, read + 7, pytest.approx((read + 70) / 1e6))]
    with paying(Purse(Limit(tokens=3000))) as _:
        one.score("red", TEXTS)
    bound = sum(len(m["content"].encode()) + 16 for m in api.asked[0]["messages"])
    with paying(Purse(Limit(tokens=bound + 255))), pytest.raises(BudgetError):
        one.score("red", TEXTS)
    with paying(Purse(Limit(tokens=bound + 256))):
        one.score("red", TEXTS)


# A local model


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    pytest.importorskip("torch")
    from tests.tiny_language_models import write_causal

    model = write_causal(tmp_path_factory.mktemp("llama"), "llama")
    text = "<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n"
    return ListwiseReranker(model=model, chat=f"{text}<|im_start|>assistant\n", device="cpu")


def test_a_local_model_answers_greedily(local):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(local.model.folder)
    model = AutoModelForCausalLM.from_pretrained(local.model.folder).eval()
    user = (
        "I will provide you with 2 passages, each indicated by a numerical identifier []. Rank the"
        " passages based on their relevance to the search query: fox.\n\n[1] red (7)\n[2] blue\n"
        "Search Query: fox.\nRank the 2 passages above based on their relevance to the search"
        " query. All the passages should be included and listed using identifiers, in descending"
        " order of relevance. The output format should be [] > [], e.g., [2] > [1], Answer"
        " concisely and directly and only respond with the ranking results, do not say any word or"
        " explain."
    )
    system = (
        "You are RankLLM, an intelligent assistant that can rank passages based on their relevancy"
        " to the query"
    )
    text = (
        f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    ids = tokenizer(text)["input_ids"]
    new = []
    for _ in range(len(tokenizer("[1] > [2]")["input_ids"]) + 1):
        with torch.no_grad():
            new.append(int(model(torch.tensor([ids + new])).logits[0, -1].argmax()))
        if new[-1] == tokenizer.eos_token_id:
            break
    expected = tokenizer.decode(new, skip_special_tokens=True)
    heard = []
    with listening(heard.append):
        assert local.answer("fox", ["red [7]", "blue"]) == expected
    assert heard[0][:2] == (2, len(ids) + len(new))
    assert json.dumps(local.describe()) == json.dumps(local.describe())


def test_long_passages_are_shortened_to_the_context(local):
    short = dataclasses.replace(local, passage_words=5)
    passages = ["river " * 60, "engine"]
    whole = short._fitted("fox", passages, 2000)
    assert whole == short._ids("fox", [" ".join(["river"] * 50), "engine"])
    assert short.notes() == []
    assert len(whole) - 120 < len(short._fitted("fox", passages, len(whole) - 40)) < len(whole) - 40
    assert short.tally.shortened == 1
    assert "passages of 1 of 0 prompts" in short.notes()[0]
    with pytest.raises(DefinitionError, match="do not hold a prompt of 2 passages"):
        short._fitted("fox", ["river", "engine"], 300)


def test_without_a_chat_template_the_text_is_asked_for(local):
    plain = dataclasses.replace(local, chat=None)
    with pytest.raises(DefinitionError, match=r"scorer\.parameters\.chat"):
        plain.score("fox", ["a"])
