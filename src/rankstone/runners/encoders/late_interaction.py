"""Late interaction: a vector per token, by ColBERT checkpoints or by any plain encoder."""

from __future__ import annotations

import string
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import ModelError, RankstoneWarning
from rankstone.runners.document_length import Ruler, ruler
from rankstone.runners.meter import report
from rankstone.runners.models import LocatedModel
from rankstone.runners.protocols import STRICT, Chunks, Context, Json, Role, Truncation
from rankstone.runners.representations.base import concatenate, take
from rankstone.runners.representations.ragged import STORAGES, Ragged, Storage, ragged
from rankstone.runners.representations.two_bits import turned
from rankstone.runners.search.exact.maxsim import MaxSimIndex
from rankstone.runners.transformer.backbone import check_length
from rankstone.runners.transformer.batching import by_length
from rankstone.runners.transformer.flops import Costs, costs
from rankstone.runners.transformer.network import read_json

Length = Annotated[int, Field(ge=4)]
SKIPPED: dict[str, tuple[str, ...]] = {"punctuation": tuple(string.punctuation), "nothing": ()}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TokenEncoder:
    """What encoders of tokens share: batches, storage, search; subclasses load the network.

    Texts are encoded in batches of similar token counts, each token's vector scaled to unit length.
    Queries are float32, documents as `storage` says.
    """

    requires: ClassVar[Mapping[str, str]] = {"torch": "dense", "sentence_transformers": "dense"}
    cacheable: ClassVar[bool] = True

    model: LocatedModel
    query_length: Length
    """Tokens of a query, markers and special tokens included; what is beyond is cut."""
    document_length: Length
    """The same of a document."""
    skip: Literal["punctuation", "nothing"] = "punctuation"
    """Document tokens that get no vector (the model sees them): the characters of
    `string.punctuation` where they are tokens of their own."""
    storage: Storage = "float16"
    """What document vectors are kept in. "2bit" needs no training, and is not what ColBERTv2
    calls 2 bits: see `rankstone.runners.representations.two_bits`."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """At most so many texts are encoded together ..."""
    batch_tokens: Annotated[int, Field(ge=1)] = 2048
    """... and at most so many tokens, padding included: more fall out of a CPU's cache."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    device: str | None = None
    """A torch device; None: the best there is."""

    def __post_init__(self) -> None:
        check_length(self.model, self.query_length, "query_length")
        check_length(self.model, self.document_length, "document_length")

    def describe(self) -> Mapping[str, Json]:
        return {
            **self.model.describe(),
            "max_length": {"query": self.query_length, "document": self.document_length},
            "skip": list(SKIPPED[self.skip]),
            "dim": self._dim,
            "modules": [type(module).__name__ for module in self._encoder],
            "normalized": True,
            "similarity": "maxsim",
            "storage": STORAGES[self.storage],
            "dtype": self.dtype,
            "device": self._encoder.device.type,
            "engine": f"torch {version('torch')}",
            "libraries": {
                name: version(name) for name in ("sentence-transformers", "transformers")
            },
            "index": MaxSimIndex.DESCRIPTION,
        }

    def encode(self, texts: Sequence[str], role: Role) -> Ragged:
        """The vectors of the tokens of each text that the method compares, in their order."""
        storage: Storage = self.storage if role == "document" else "float32"
        ids = self._token_ids(texts, role, self._limit(role))
        lengths = np.array([len(row) for row in ids], dtype=np.int64)
        parts, order = [ragged([], self._dim, storage)], [np.empty(0, dtype=np.int64)]
        for rows in by_length(lengths, batch_tokens=self.batch_tokens, batch_size=self.batch_size):
            matrices = self._vectors([ids[row] for row in rows], role)
            parts.append(ragged(matrices, self._dim, storage))
            order.append(rows)
            self._report(lengths[rows], role)
        encoded: Ragged = take(concatenate(parts), np.argsort(np.concatenate(order)))
        return encoded

    def index(self, documents: Chunks[Ragged], context: Context) -> MaxSimIndex:
        return MaxSimIndex.build(documents)

    def truncation(self, texts: Sequence[str], role: Role) -> Truncation | None:
        """Counts tokens as the model sees them, without those that fill up a query."""
        ids = self._token_ids(texts, role, None)
        counts = np.array([len(row) for row in ids], dtype=np.int64)
        return Truncation.of(counts, self._limit(role))

    def _limit(self, role: Role) -> int:
        return self.query_length if role == "query" else self.document_length

    def _token_ids(self, texts: Sequence[str], role: Role, limit: int | None) -> list[list[int]]:
        """What the model sees of each text, of at most `limit` tokens."""
        if not len(texts):
            return []
        encoded = self._encoder.tokenizer(
            list(texts),
            truncation=limit is not None,
            max_length=limit,
            padding=False,
            return_attention_mask=False,
            verbose=False,
        )
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def _features(self, ids: list[list[int]], role: Role) -> dict[str, Any]:
        """The batch as tensors; padding is masked."""
        padded = self._encoder.tokenizer.pad({"input_ids": ids}, return_tensors="pt")
        return dict(padded)

    def _vectors(self, ids: list[list[int]], role: Role) -> list[NDArray[np.float32]]:
        """For each text, (n_tokens, dim) unit vectors."""
        import torch

        features = {
            name: value.to(self._encoder.device)
            for name, value in self._features(ids, role).items()
        }
        with torch.inference_mode():
            out = self._encoder(features, task=role)
            vectors = torch.nn.functional.normalize(out["token_embeddings"].float(), dim=-1)
            compared = out["attention_mask"].bool()
            flat = vectors[compared].cpu().numpy()
        ends = np.cumsum(compared.sum(dim=1).cpu().numpy())
        return np.split(turned(flat) if self.storage == "2bit" else flat, ends[:-1])

    def _report(self, lengths: NDArray[np.int64], role: Role) -> None:
        """Tell of a batch of texts of so many tokens."""
        report(self._costs.work(lengths))

    @cached_property
    def _costs(self) -> Costs:
        return costs(self._encoder)

    @cached_property
    def _dim(self) -> int:
        return int(self._encoder.get_embedding_dimension())

    @cached_property
    def _encoder(self) -> Any:
        """A MultiVectorEncoder, loaded once."""
        import torch
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # type: ignore[no-untyped-call]
        # The files are here and verified: nothing may be fetched in their stead.
        encoder = self._load({"local_files_only": True})
        return encoder.to(getattr(torch, self.dtype)).eval()

    def _load(self, local: dict[str, Any]) -> Any:
        """The MultiVectorEncoder; `local` are arguments for every loader of files."""
        raise NotImplementedError


class DocumentTokens:
    """The tokens of documents, as a method of late interaction counts them."""

    unit = "tokens"

    def __init__(self, runner: TokenEncoder) -> None:
        self._runner = runner
        self.limit: int | None = runner.document_length

    def ends(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        encoded = self._runner._encoder.tokenizer(
            list(texts), add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        found = encoded["offset_mapping"]
        return [np.array([end for _, end in offsets], dtype=np.int64) for offsets in found]

    def counts(self, texts: Sequence[str]) -> NDArray[np.int64]:
        ids = self._runner._token_ids(texts, "document", None)
        return np.array([len(row) for row in ids], dtype=np.int64)


@ruler.register
def _(runner: TokenEncoder) -> Ruler:
    return DocumentTokens(runner)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LateInteraction(TokenEncoder):
    """ColBERT and its kin, from checkpoints in Stanford's or PyLate's format.

    After the first token comes a marker that says what the text is. A query is filled up with mask
    tokens to `query_length`, and the vectors of these are compared as well: the query augmentation
    of ColBERT (Khattab and Zaharia, SIGIR 2020, section 3.2).
    """

    query_marker: str
    """As the model's vocabulary writes it: one token, to which a space may be part or not."""
    document_marker: str
    dim: Annotated[int, Field(ge=1)]
    """Dimensions of the projection, for the model's to be checked against."""
    augment_queries: bool = True
    attend_to_mask: bool = False
    """Whether the tokens of a query see the masks it is filled up with. The masks see them."""

    def describe(self) -> Mapping[str, Json]:
        return {
            **super().describe(),
            "markers": {"query": self.query_marker, "document": self.document_marker},
            "augmented": {"query": self.augment_queries, "document": False},
            "attend_to_mask": {"query": self.attend_to_mask, "document": False},
        }

    def _token_ids(self, texts: Sequence[str], role: Role, limit: int | None) -> list[list[int]]:
        marker = self.query_marker if role == "query" else self.document_marker
        return super()._token_ids([marker + text for text in texts], role, limit)

    def _features(self, ids: list[list[int]], role: Role) -> dict[str, Any]:
        """Padding is masked; so are the masks of a query, but their positions are named."""
        import torch

        if role == "document" or not self.augment_queries:
            return super()._features(ids, role)
        shape = (len(ids), self.query_length)
        tokens = torch.full(shape, self._encoder.tokenizer.mask_token_id)
        own = torch.arange(self.query_length) < torch.tensor([len(row) for row in ids])[:, None]
        tokens[own] = torch.tensor([token for row in ids for token in row])
        seen = torch.ones(shape) if self.attend_to_mask else own
        return {
            "input_ids": tokens,
            "attention_mask": seen.long(),
            "query_expansion_positions": ~own,
        }

    def _report(self, lengths: NDArray[np.int64], role: Role) -> None:
        filled = role == "query" and self.augment_queries
        super()._report(np.full_like(lengths, self.query_length) if filled else lengths, role)

    def _load(self, local: dict[str, Any]) -> Any:
        import torch
        from sentence_transformers import MultiVectorEncoder
        from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

        _check_format(self.model)
        encoder = MultiVectorEncoder(
            str(self.model.folder),
            device=self.device,
            model_kwargs={"dtype": getattr(torch, self.dtype)},
            **local,
        )
        found = int(encoder.get_embedding_dimension() or 0)
        if found != self.dim:
            raise ModelError(
                f"Model '{self.model.id}': its vectors have {found} dimensions, expected"
                f" {self.dim}. Correct the key 'parameters.dim', or use the model it is meant for."
            )
        self._check_marker(encoder, "query", self.query_marker)
        self._check_marker(encoder, "document", self.document_marker)
        for module in encoder:
            if isinstance(module, MultiVectorMask):
                module.skiplist_words = list(SKIPPED[self.skip])
                module.resolve_with_tokenizer(encoder.tokenizer)
        return encoder

    def _check_marker(self, encoder: Any, role: Role, marker: str) -> None:
        ids = encoder.tokenizer(marker, add_special_tokens=False)["input_ids"]
        if len(ids) != 1 or ids[0] == encoder.tokenizer.unk_token_id:
            raise ModelError(
                f"Model '{self.model.id}': the {role} marker {marker!r} is not one token of its"
                f" vocabulary. Correct the key 'parameters.{role}_marker'."
            )
        documented = encoder.prompts.get(role)
        if documented and documented.strip() != marker.strip():
            warnings.warn(
                f"Model '{self.model.id}' documents the {role} marker {documented!r};"
                f" the definition says {marker!r}.",
                RankstoneWarning,
                stacklevel=2,
            )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TokenVectors(TokenEncoder):
    """The last hidden states of any encoder, as they are: late interaction without its training."""

    special_tokens: Literal["keep", "drop"] = "keep"
    """Whether what the tokenizer adds to every text, [CLS] and [SEP], is compared."""

    def describe(self) -> Mapping[str, Json]:
        return {**super().describe(), "special_tokens": self.special_tokens}

    def _load(self, local: dict[str, Any]) -> Any:
        import torch
        from sentence_transformers import MultiVectorEncoder
        from sentence_transformers.base.modules import Normalize, Transformer
        from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

        transformer = Transformer(
            str(self.model.folder),
            model_kwargs={**local, "dtype": getattr(torch, self.dtype)},
            processor_kwargs=dict(local),
            config_kwargs=dict(local),
        )
        tokenizer: Any = transformer.tokenizer
        added = tokenizer.convert_ids_to_tokens(tokenizer("")["input_ids"])
        dropped = added if self.special_tokens == "drop" else []
        modules = [
            transformer,
            MultiVectorMask(dropped, skiplist_tasks=["query", "document"]),
            MultiVectorMask(list(SKIPPED[self.skip]), skiplist_tasks=["document"]),
            Normalize(module_input_name="token_embeddings"),
        ]
        return MultiVectorEncoder(modules=modules, device=self.device)


def _check_format(model: LocatedModel) -> None:
    """ModelError unless the folder holds a trained projection: else one would be drawn at random.

    Stanford's format says so in ``config.json``; PyLate's and sentence-transformers' own in
    ``config_sentence_transformers.json``, PyLate's older one only by its markers.
    """
    stanford = "HF_ColBERT" in (read_json(model.folder / "config.json").get("architectures") or [])
    settings = read_json(model.folder / "config_sentence_transformers.json")
    named = settings.get("model_type") in ("ColBERT", "MultiVectorEncoder")
    if not stanford and not named and "query_prefix" not in settings:
        raise ModelError(
            f"Model '{model.id}': {model.folder} is no late-interaction checkpoint of Stanford's or"
            " PyLate's format: it has no trained projection. For the token vectors of a plain"
            " encoder use the adapter 'token_vectors'."
        )
