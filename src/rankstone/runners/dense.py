"""Dual encoders that sentence-transformers loads."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError, RankstoneWarning
from rankstone.runners.flat import ExactIndex
from rankstone.runners.models import LocatedModel
from rankstone.runners.protocols import (
    STRICT,
    Chunks,
    Context,
    Json,
    Role,
    Truncation,
)  # fmt: skip

ROLES: tuple[Role, ...] = ("query", "document")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SentenceTransformerRunner:
    """One vector per text, and exact search over them.

    Texts are encoded in batches of similar token counts. The vectors are those of
    ``SentenceTransformer.encode`` up to the last bits, which depend on what shares a batch.
    """

    requires: ClassVar[Mapping[str, str]] = {"torch": "dense", "sentence_transformers": "dense"}
    cacheable: ClassVar[bool] = True

    model: LocatedModel
    max_length: Annotated[int, Field(ge=1)] | None = None
    """Tokens per text, special tokens and prompt included; None: the model's own limit."""
    normalize: bool | None = None
    """Scale vectors to unit length; None: as the similarity wants it (cosine does)."""
    similarity: Literal["cosine", "dot"] = "cosine"
    prompts: dict[Role, str] | None = None
    """What is put before texts of each role: a name among the model's prompts, or the words. A role
    left out takes the model's own prompt for it, with a warning if there is one."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """At most so many texts are encoded together ..."""
    batch_tokens: Annotated[int, Field(ge=1)] = 2048
    """... and at most so many tokens, padding included: more fall out of a CPU's cache."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    device: str | None = None
    """A torch device; None: the best there is."""

    def __post_init__(self) -> None:
        if self.similarity == "cosine" and self.normalize is False:
            raise DefinitionError(
                "key 'parameters.normalize': cosine is the inner product of unit vectors."
                ' Remove the key, or set similarity = "dot".'
            )

    def describe(self) -> Mapping[str, Json]:
        pooling = [getattr(module, "pooling_mode", None) for module in self._encoder]
        return {
            **self.model.describe(),
            "prompts": {role: self._prompt(role) for role in ROLES},
            "max_length": self._limit,
            "pooling": next((str(mode) for mode in pooling if mode), None),
            "modules": [type(module).__name__ for module in self._encoder],
            "normalized": self._normalize,
            "similarity": self.similarity,
            "dtype": self.dtype,
            "device": self._encoder.device.type,
            "engine": f"torch {version('torch')}",
            "libraries": {
                name: version(name) for name in ("sentence-transformers", "transformers")
            },
            "index": ExactIndex.DESCRIPTION,
        }

    def encode(self, texts: Sequence[str], role: Role) -> NDArray[np.float32]:
        """(len(texts), dim) vectors, C-contiguous."""
        dim = self._encoder.get_embedding_dimension()
        vectors = np.empty((len(texts), dim), dtype=np.float32)
        limit = self._limit or np.inf
        # One text needs no sorting: a query alone is tokenised once.
        lengths = (
            np.minimum(self._token_counts(texts, role), limit)
            if len(texts) > 1
            else np.ones(len(texts), dtype=np.int64)
        )
        for rows in self._batches(lengths):
            vectors[rows] = self._encoder.encode(
                [texts[row] for row in rows],
                prompt=self._prompt(role),
                task=role,
                batch_size=len(rows),
                normalize_embeddings=self._normalize,
                show_progress_bar=False,
                convert_to_numpy=True,
            )
        return vectors

    def index(self, documents: Chunks[NDArray[np.float32]], context: Context) -> ExactIndex:
        return ExactIndex.build(documents)

    def truncation(self, texts: Sequence[str], role: Role) -> Truncation | None:
        """Counts tokens as the model sees them: prompt and special tokens included."""
        if self._limit is None:
            return None
        counts = self._token_counts(texts, role)
        cut = np.maximum(counts - self._limit, 0)
        return Truncation(
            texts=len(texts),
            texts_cut=int(np.count_nonzero(cut)),
            tokens=int(counts.sum()),
            tokens_cut=int(cut.sum()),
        )

    def _batches(self, lengths: NDArray[Any]) -> Iterator[NDArray[np.int64]]:
        """Rows of similar length, longest first; few enough for `batch_tokens` after padding."""
        order = np.argsort(-lengths, kind="stable")
        start = 0
        while start < len(order):
            fitting = int(self.batch_tokens // max(lengths[order[start]], 1))
            stop = start + min(max(fitting, 1), self.batch_size)
            yield order[start:stop]
            start = stop

    def _token_counts(self, texts: Sequence[str], role: Role) -> NDArray[np.int64]:
        """(len(texts),) tokens of each text without any limit."""
        if not len(texts):
            return np.zeros(0, dtype=np.int64)
        prompt = self._prompt(role)
        encoded = self._encoder.tokenizer(
            [prompt + text for text in texts],
            truncation=False,
            padding=False,
            return_attention_mask=False,
            verbose=False,
        )
        return np.array([len(ids) for ids in encoded["input_ids"]], dtype=np.int64)

    @cached_property
    def _normalize(self) -> bool:
        return self.similarity == "cosine" if self.normalize is None else self.normalize

    @property
    def _limit(self) -> int | None:
        limit: int | None = self._encoder.max_seq_length
        return limit

    def _prompt(self, role: Role) -> str:
        return self._prompts[role]

    @cached_property
    def _prompts(self) -> dict[Role, str]:
        """The words before texts of each role; warns of documented prompts that are not stated."""
        documented = self._encoder.prompts
        stated = self.prompts or {}
        words: dict[Role, str] = {}
        for role in ROLES:
            own = documented.get(role) or ""
            words[role] = documented.get(stated[role], stated[role]) if role in stated else own
            if own and words[role] != own:
                warnings.warn(
                    f"Model '{self.model.id}' documents the {role} prompt {own!r};"
                    f" the definition says {words[role]!r}.",
                    RankstoneWarning,
                    stacklevel=2,
                )
            elif own and role not in stated:
                warnings.warn(
                    f"Model '{self.model.id}' documents the {role} prompt {own!r}, which is used;"
                    f" the definition leaves it out. Add it: parameters.prompts.{role}.",
                    RankstoneWarning,
                    stacklevel=2,
                )
        return words

    @cached_property
    def _encoder(self) -> Any:
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # type: ignore[no-untyped-call]
        encoder = SentenceTransformer(
            str(self.model.folder),
            device=self.device,
            # The files are here and verified: nothing may be fetched in their stead.
            local_files_only=True,
            model_kwargs={"dtype": getattr(torch, self.dtype)},
        )
        if self.max_length is not None:
            encoder.max_seq_length = self.max_length
        return encoder.eval()
