"""Language models as rerankers: a prompt with a pair, answered by one of two tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from dataclasses import dataclass as plain_dataclass
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np
from pydantic import ValidationError
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError
from rankstone.runners.protocols import STRICT, Json
from rankstone.runners.scorers.settings import PairScorer
from rankstone.runners.transformer.network import Head, Loaded, Network
from rankstone.runners.transformer.tokens import (
    PROBED_QUERY,
    Ids,
    Side,
    Tokenised,
    Tokens,
    check_ids,
    copied,
)
from rankstone.runners.transformer.tower import Tower

WEB_SEARCH = "Given a web search query, retrieve relevant passages that answer the query"
"""Instruction on Qwen3's model cards."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Template:
    """Prompt for a pair, and the two possible answer tokens.

    `before` and `after` are tokenised separately, and never truncated.
    """

    yes: str
    """Token for "relevant"."""
    no: str
    """Token for "not relevant"."""
    before: str = ""
    instruction: str = ""
    """Text with `{task}`, before the query; left out without an instruction."""
    query: str = "{query}"
    document: str = "{document}"
    after: str = ""
    default: str = ""
    """Default instruction."""
    joined: bool = True
    """True: query and document are tokenised as one text, whose end is truncated. False:
    separately; the query has at most 3/4 of the length, and the document the rest."""
    counts_all: bool = True
    """True: `max_length` counts `before` and `after` too."""

    def of_query(self, query: str, instruction: str | None) -> str:
        stated = self.default if instruction is None else instruction
        led = self.instruction.format(task=stated) if stated else ""
        return led + self.query.format(query=query)

    def of_document(self, document: str) -> str:
        return self.document.format(document=document)


class PromptedTokens(Tokens):
    """Tokens of pairs inserted into a template, each in one sequence."""

    def __init__(
        self,
        tokenizer: Any,
        *,
        template: Template,
        instruction: str | None,
        pad: int,
        limit: int,
        side: Side,
        most: int | None = None,
        embeddings: int | None = None,
    ) -> None:
        """
        Args:
            limit: most tokens of a pair, as the template counts them.
            most: most tokens of a whole prompt that the model can read; None: no limit.
        """
        super().__init__(
            tokenizer, pad=pad, limit=limit, before=(), after=(), side=side, embeddings=embeddings
        )
        self._template, self._instruction = template, instruction
        self._first, self._last = self._own([template.before, template.after])
        around = len(self._first) + len(self._last)
        self._room = min(limit, (most or limit + around) - around)
        if template.counts_all:
            self._room = min(limit, most or limit) - around
        if self._room < 1:
            raise DefinitionError(
                f"key 'parameters.max_length': {limit}, but the prompt around a pair takes"
                f" {around} tokens. Raise it."
            )

    def pairs(self, query: str, documents: Sequence[str]) -> Tokenised:
        """Return the ids of `query` with each of `documents`, truncated at the limit."""
        asked = self._template.of_query(query, self._instruction)
        texts = [self._template.of_document(text) for text in documents]
        bodies = self._joined(asked, texts) if self._template.joined else self._apart(asked, texts)
        ids = [np.concatenate([self._first, kept, self._last]) for kept, _ in bodies]
        lost = np.array([n for _, n in bodies], dtype=np.int64)
        check_ids(ids, self._embeddings, self.tokenizer.id_to_token)
        return Tokenised(ids, np.array([len(one) for one in ids], dtype=np.int64) + lost)

    def encode(self, texts: Sequence[str]) -> Tokenised:
        """Return pairs of `PROBED_QUERY` and each text."""
        return self.pairs(PROBED_QUERY, texts)

    def _joined(self, asked: str, texts: Sequence[str]) -> list[tuple[Ids, int]]:
        """Return the ids of each pair within the limit, and the number of those beyond it."""
        whole = self._own([asked + text for text in texts])
        return [(ids[: self._room], max(len(ids) - self._room, 0)) for ids in whole]

    def _apart(self, asked: str, texts: Sequence[str]) -> list[tuple[Ids, int]]:
        (query,) = self._own([asked])
        kept = query[: self._room * 3 // 4]
        room = self._room - len(kept)
        return [
            (np.concatenate([kept, ids[:room]]), len(query) - len(kept) + max(len(ids) - room, 0))
            for ids in self._own(texts)
        ]

    def _own(self, texts: Sequence[str]) -> list[Ids]:
        encoded = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(one.ids, dtype=np.int64) for one in encoded]


@plain_dataclass(frozen=True, kw_only=True)
class Answer(Head):
    """Network whose score is the log-odds of one next token against another."""

    template: Template
    instruction: str | None
    decoder: bool
    """True: the first token of an encoder-decoder's decoder; False: the token after the prompt."""

    def load(self, network: Network) -> Loaded:
        from rankstone.runners.transformer.pairs import load_answer

        words = self.template.yes, self.template.no
        return load_answer(network, words, self.tokens, decoder=self.decoder)

    def tokens(self, tokens: Tokens) -> PromptedTokens:
        """Return prompt tokens with the tokenizer and the limit of `tokens`."""
        assert tokens.limit is not None
        backend, pad = copied(tokens.tokenizer), tokens.pad
        return self.prompts(backend, pad=pad, limit=tokens.limit)

    def prompts(self, tokenizer: Any, **shape: Any) -> PromptedTokens:
        side: Side = "right" if self.decoder else "left"
        parts: dict[str, Any] = {"template": self.template, "instruction": self.instruction}
        return PromptedTokens(tokenizer, **parts, side=side, **shape)


class PromptTower(Tower):
    """Tower of prompts with pairs, for a network whose head is an `Answer`."""

    @cached_property
    def tokens(self) -> PromptedTokens:
        facts, head = self.facts, cast("Answer", self.network.head)
        shape = {"pad": facts.pad, "limit": self.limit, "embeddings": facts.embeddings}
        return head.prompts(self.tokenizer, most=facts.limit, **shape)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PromptedScorer(PairScorer):
    """Base of rerankers that are prompted.

    The score is the difference of the two tokens' logits. It orders pairs as the probability P(yes)
    does, without ties near 0 and 1 in float32.
    """

    TEMPLATES: ClassVar[Mapping[str, Template]]
    DECODER: ClassVar[bool]

    template: str | dict[str, Any]
    """Name of a published prompt, or a table of its parts (`Template`)."""
    instruction: str | None = None
    """Task description, if the prompt takes one; None: the prompt's default."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self._template

    def describe(self) -> Mapping[str, Json]:
        template = self._template
        stated = template.default if self.instruction is None else self.instruction
        return {
            **super().describe(),
            "scorer": "language model, log-odds of two tokens",
            "template": asdict(template),
            "instruction": stated if template.instruction else None,
        }

    @cached_property
    def _template(self) -> Template:
        if isinstance(self.template, str):
            if self.template not in self.TEMPLATES:
                raise DefinitionError(
                    f"key 'parameters.template': no prompt '{self.template}'. Name one of"
                    f" {', '.join(self.TEMPLATES)}, or write a table of its parts."
                )
            return self.TEMPLATES[self.template]
        return _template_of(self.template)

    @cached_property
    def _pairs(self) -> Tower:
        head = Answer(template=self._template, instruction=self.instruction, decoder=self.DECODER)
        engines = self._engines(head, self.model)
        limit = min(self.max_length, engines.facts.limit or self.max_length)
        return self._tower(engines, "document", limit, PromptTower)


def _template_of(parts: Mapping[str, Any]) -> Template:
    """Return the template of a table; DefinitionError if the table is invalid."""
    try:
        made = Template(**parts)
        made.of_query("", "x") + made.of_document("")
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        raise DefinitionError(f"key 'parameters.template.{key}': {fault['msg']}.") from None
    except (KeyError, IndexError, ValueError) as error:
        raise DefinitionError(
            f"table 'parameters.template': {type(error).__name__} {error}. Its texts may hold"
            " {task}, {query} and {document}, each in its own; double other braces."
        ) from None
    return made
