"""One encoder of texts: a network with its tokenizer, loaded on first use."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from rankstone.errors import DefinitionError, RankstoneWarning
from rankstone.profiling.device import free_bytes
from rankstone.runners.meter import report
from rankstone.runners.protocols import Role
from rankstone.runners.transformer.batching import WINDOW_TEXTS, by_length
from rankstone.runners.transformer.engines.choice import Engines
from rankstone.runners.transformer.engines.engine import Batch, Engine, OutOfMemoryError
from rankstone.runners.transformer.network import Array, Facts, Network
from rankstone.runners.transformer.tokens import Ids, LibraryTokens, Tokenised, Tokens, without

CPU_BATCH_TOKENS, GPU_BATCH_TOKENS = 2048, 16_384
"""Default tokens per batch: more would exceed a CPU's cache; a GPU with too little memory gets
less."""
GPU_WINDOW_TEXTS = 4096
"""Texts sorted by length at once: enough that large batches have little padding."""

Finish = Callable[[Array, Ids, Ids], Any]
"""(network output of a batch, ids, mask) -> representations, a sequence of length n."""


@dataclass(kw_only=True)
class Tower:
    """A network for the texts of one role."""

    has_network: ClassVar[bool] = True

    network: Network
    role: Role
    engines: Engines
    """Shared by the towers of one network."""
    stated_limit: int | None = None
    tokens_before: Sequence[str] | None = None
    tokens_after: Sequence[str] | None = None
    padding_side: Literal["left", "right"] = "right"
    pad_to_limit: bool = False
    batch_tokens: int | None = None
    batch_size: int | None = None

    @property
    def facts(self) -> Facts:
        return self.engines.facts

    @cached_property
    def engine(self) -> Engine:
        return self.engines.engine

    @cached_property
    def tokens(self) -> Tokens:
        special, facts = self.facts.special_tokens, self.facts
        before, after = (
            None if tokens is None else [special.get(token, token) for token in tokens]
            for tokens in (self.tokens_before, self.tokens_after)
        )
        shape: dict[str, Any] = {"pad": facts.pad, "limit": self.limit, "side": self.padding_side}
        shape["embeddings"] = facts.embeddings
        if facts.library_tokens:
            if before is not None or after is not None:
                raise DefinitionError(
                    "keys 'parameters.tokens_before', 'tokens_after': the tokenizer of"
                    f" '{self.network.model.id}' does not allow for others. Remove them."
                )
            return LibraryTokens(self.tokenizer, **shape)
        try:
            return Tokens(
                self.tokenizer,
                before=before,
                after=after,
                truncation_side=facts.truncation_side,
                **shape,
            )
        except ValueError as error:
            raise DefinitionError(
                f"keys 'parameters.tokens_before', 'tokens_after': {error}. Correct them."
            ) from None

    @property
    def tokenizer(self) -> Any:
        return self.engine.tokenizer

    @property
    def limit(self) -> int | None:
        """Most tokens per text: as stated, else the model's own limit.

        Raises DefinitionError if the model has fewer positions.
        """
        facts, stated = self.facts, self.stated_limit
        if stated is not None and facts.positions is not None and stated > facts.positions:
            raise DefinitionError(
                f"key 'parameters.max_length': {stated}, but '{self.network.model.id}' has"
                f" positions for {facts.positions} tokens. Lower it."
            )
        own = min((n for n in (facts.limits.get(self.role), facts.limit) if n), default=None)
        return stated or own

    @cached_property
    def _budget(self) -> int:
        if self.batch_tokens is not None:
            return self.batch_tokens
        return CPU_BATCH_TOKENS if self._on_cpu else self._gpu_budget()

    @property
    def window_texts(self) -> int:
        """Texts tokenised and sorted by length at once."""
        return WINDOW_TEXTS if self._on_cpu else GPU_WINDOW_TEXTS

    @property
    def _on_cpu(self) -> bool:
        return self.engine.name == "openvino" or self.engines.device == "cpu"

    def _gpu_budget(self) -> int:
        """Return the tokens per batch that fit into the device's memory with the network.

        The estimate assumes that the float32 outputs of all linear maps are in memory at once.
        Since most are freed after each layer, this leaves space for padding and other tensors.
        """
        weights, _, width, *_ = self.facts.costs
        per_token = max(4 * weights // max(width, 1), 1)
        return max(min(GPU_BATCH_TOKENS, free_bytes(self.engines.device) // per_token), 1)

    def batches(
        self, tokenised: Tokenised, finish: Finish, prompt: str = ""
    ) -> Iterator[tuple[Ids, Any]]:
        """Yield batches of texts of similar length, longest first, within the budget of tokens.

        If the device runs out of memory, the batch is halved, and so is the budget from then on.
        """
        lengths = np.array([len(ids) for ids in tokenised.ids], dtype=np.int64)
        order = np.argsort(-lengths, kind="stable")
        skipped = 0 if self.facts.include_prompt else self.tokens.prompt_length(prompt)
        done = 0
        while done < len(order):
            plan = deque[tuple[Ids, Ids, Ids]]()
            batches = self._padded(tokenised, order[done:], plan, skipped)
            try:
                for output in self.engine.through(batches):
                    rows, ids, mask = plan.popleft()
                    done += len(rows)
                    yield rows, finish(output, ids, mask)
                    report(self.facts.costs.work(lengths[rows]))
            except OutOfMemoryError:
                self._halve(*plan[0][1].shape)

    def _padded(
        self, tokenised: Tokenised, order: Ids, plan: deque[tuple[Ids, Ids, Ids]], skipped: int
    ) -> Iterator[Batch]:
        """Yield the inputs of consecutive batches of `order`; append rows, ids and masks to
        `plan`."""
        multiple = self.limit or 1 if self.pad_to_limit else 1
        lengths = np.array([max(len(tokenised.ids[row]), multiple) for row in order])
        most = self.batch_size or len(order)
        for run in by_length(lengths, batch_tokens=self._budget, batch_size=most):
            rows = order[run]
            ids, mask = self.tokens.padded([tokenised.ids[row] for row in rows], multiple)
            plan.append((rows, ids, mask))
            yield (ids, mask) if self.facts.include_prompt else (ids, mask, without(mask, skipped))

    def _halve(self, n_texts: int, length: int) -> None:
        if n_texts == 1:
            raise MemoryError(
                f"'{self.network.model.id}': the device has no memory for a single text of"
                f" {self.limit} tokens. Lower parameters.max_length, or use another device."
            )
        self._budget = min(self._budget, n_texts * length) // 2
        warnings.warn(
            f"the device ran out of memory: from here on {self._budget} tokens are encoded"
            " together (parameters.batch_tokens)",
            RankstoneWarning,
            stacklevel=2,
        )
