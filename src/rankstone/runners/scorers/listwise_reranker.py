"""Listwise re-ranking by a causal language model: RankZephyr, RankVicuna."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError
from rankstone.profiling.device import memory_errors
from rankstone.runners.meter import report
from rankstone.runners.protocols import STRICT, Json
from rankstone.runners.scorers.listwise import Listwise, messages, shortened
from rankstone.runners.scorers.settings import OnTorch
from rankstone.runners.transformer.network import Head, Loaded, Network


@plain_dataclass(frozen=True, kw_only=True)
class Writer(Head):
    """Network that generates text."""

    def load(self, network: Network) -> Loaded:
        from rankstone.runners.transformer.pairs import load_writer

        return load_writer(network)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ListwiseReranker(OnTorch, Listwise):
    """Greedy decoding by a causal language model.

    If a prompt exceeds the context, all its passages are shortened until it fits. Pradeep,
    Sharifymoghaddam, Lin: RankZephyr, arXiv:2312.02724; RankVicuna, arXiv:2309.15088.
    """

    context: Annotated[int, Field(ge=64)] = 4096
    """Tokens of prompt and answer together; at most the model's own limit."""
    chat: str | None = None
    """Template of a prompt with `{system}` and `{user}`; None: the tokenizer's chat template."""

    def __post_init__(self) -> None:
        self.check()

    def describe(self) -> Mapping[str, Json]:
        return {
            **self.model.describe(),
            **self.listed(),
            "context": self._context,
            "chat": self.chat or str(self._loaded.tokenizer.chat_template),
            "decoding": "greedy",
            **self._engine(self._network),
        }

    def prepare(self) -> None:
        _ = self._network

    def answer(self, query: str, passages: Sequence[str]) -> str:
        import torch

        most = self._answer_tokens(len(passages))
        ids = torch.tensor([self._fitted(query, passages, self._context - most)])
        ids = ids.to(self._network.device)
        with torch.inference_mode(), memory_errors("Lower scorer.parameters.context."):
            found = self._network.generate(
                ids, attention_mask=torch.ones_like(ids), generation_config=self._greedy(most)
            )[0]
        work = self._loaded.facts.costs.work(np.array([len(found)]))
        report(work._replace(texts=len(passages)))
        new = found[ids.shape[1] :].cpu().tolist()
        return str(self._loaded.tokenizer.decode(new, skip_special_tokens=True))

    def _fitted(self, query: str, passages: Sequence[str], room: int) -> list[int]:
        """Return the ids of the prompt, with passages shortened if it would not fit."""
        words = whole = self.words(len(passages))
        ids = self._ids(query, shortened(passages, words))
        while len(ids) > room:
            words = min(words, max(len(text.split()) for text in passages))
            words -= max(1, (len(ids) - room) // (4 * len(passages)))
            if words < 1:
                raise DefinitionError(
                    f"key 'scorer.parameters.context': {self._context} tokens do not hold a prompt"
                    f" of {len(passages)} passages. Raise it, or lower scorer.parameters.window."
                )
            ids = self._ids(query, shortened(passages, words))
        self.tally.shortened += words < whole
        return ids

    def _ids(self, query: str, passages: Sequence[str]) -> list[int]:
        tokenizer, turns = self._loaded.tokenizer, messages(self.texts, query, passages)
        if self.chat is None:
            text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            return list(tokenizer(text, add_special_tokens=False)["input_ids"])
        system, user = (turn["content"] for turn in turns)
        return list(tokenizer(self.chat.format(system=system, user=user))["input_ids"])

    def _answer_tokens(self, n: int) -> int:
        """Return the number of tokens of an answer that ranks `n` passages."""
        text = " > ".join(f"[{rank}]" for rank in range(1, n + 1))
        return len(self._loaded.tokenizer(text, add_special_tokens=False)["input_ids"]) + 1

    def _greedy(self, most: int) -> Any:
        from transformers import GenerationConfig

        own, tokenizer = self._network.generation_config, self._loaded.tokenizer
        ends = own.eos_token_id if own.eos_token_id is not None else tokenizer.eos_token_id
        return GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=most,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            use_cache=True,
            eos_token_id=ends,
            pad_token_id=tokenizer.pad_token_id,
        )

    @property
    def _context(self) -> int:
        return min(self.context, self._loaded.facts.limit or self.context)

    @cached_property
    def _loaded(self) -> Loaded:
        loaded = self._load(Writer())
        if self.chat is None and not getattr(loaded.tokenizer, "chat_template", None):
            raise DefinitionError(
                f"Model '{self.model.id}' has no chat template. State the text of its prompts:"
                " scorer.parameters.chat, with {system} and {user}."
            )
        return loaded

    @cached_property
    def _network(self) -> Any:
        return self._placed(self._loaded)
