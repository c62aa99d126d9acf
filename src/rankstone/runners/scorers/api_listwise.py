"""Listwise re-ranking by a language model with OpenAI's chat API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError
from rankstone.runners.api.answers import Answer, read_chat
from rankstone.runners.api.budget import Amount
from rankstone.runners.api.lengths import Positive
from rankstone.runners.api.settings import ONE, ApiSettings, Request
from rankstone.runners.meter import Work, report
from rankstone.runners.protocols import STRICT, Json
from rankstone.runners.scorers.listwise import Listwise, messages, shortened

PATH = "chat/completions"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ApiListwise(Listwise, ApiSettings):
    """Answers from `POST {base_url}/chat/completions` at temperature 0, one per window.

    Length limits apply to each passage. Text between `<think>` and `</think>` is ignored.
    """

    max_tokens: Positive = 256
    """Most tokens of an answer; reasoning models need thousands."""
    price_written: Annotated[float, Field(ge=0)] | None = None
    """US dollars per million output tokens; required if `price` is stated."""
    fields: dict[str, Any] = Field(default_factory=dict)
    """Further fields of a request, such as `seed` or `max_completion_tokens`; null removes one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check()
        if (self.price is None) != (self.price_written is None):
            raise DefinitionError(
                "keys 'scorer.parameters.price' and 'price_written': tokens of prompts and of"
                " answers have prices of their own. State both, or neither."
            )

    def describe(self) -> Mapping[str, Json]:
        """Return the parameters and the model's properties, for which the server is asked."""
        return {
            **self.identity(),
            **self.listed(),
            "api": "OpenAI chat",
            "max_tokens": self.max_tokens,
            "fields": self.fields,
        }

    def prepare(self) -> None:
        _ = self._client

    def answer(self, query: str, passages: Sequence[str]) -> str:
        read = self.cut(shortened(passages, self.words(len(passages))))
        (answer,) = self.answers(PATH, [self._request(query, read)], read_chat)
        tokens, usd = self.cost(answer)
        report(Work(len(passages), tokens, billed_tokens=tokens, usd=usd))
        return answer.text

    def probe(self) -> Answer:
        return next(self.answers(PATH, [self._request(ONE[0], ONE)], read_chat))

    def written(self, tokens: int) -> Amount:
        return Amount.of(tokens, self.price_written)

    def _request(self, query: str, passages: Sequence[str]) -> Request:
        turns = messages(self.texts, query, passages)
        stated = {"temperature": 0, "max_tokens": self.max_tokens, **self.fields}
        body = {"messages": turns, **{k: v for k, v in stated.items() if v is not None}}
        texts = [turn["content"] for turn in turns]
        return Request(body, texts, len(passages), self.max_tokens)
