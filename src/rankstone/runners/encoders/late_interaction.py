"""Late interaction: one vector per token, from ColBERT checkpoints or any plain encoder."""

from __future__ import annotations

import string
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError, ModelError, RankstoneWarning
from rankstone.runners.models import LocatedModel
from rankstone.runners.protocols import STRICT, Chunks, Context, Json, Role
from rankstone.runners.representations.base import concatenate, take
from rankstone.runners.representations.ragged import STORAGES, Ragged, Storage, ragged
from rankstone.runners.representations.two_bits import turned
from rankstone.runners.search.exact.gpu_maxsim import GpuMaxSimIndex, maxsim
from rankstone.runners.search.exact.maxsim import MaxSimIndex
from rankstone.runners.transformer.checkpoint_files import read_json
from rankstone.runners.transformer.encoder import ROLES, TransformerSettings
from rankstone.runners.transformer.engines.choice import Engines
from rankstone.runners.transformer.engines.engine import PRECISIONS, Dtype
from rankstone.runners.transformer.network import Array, Head, Loaded, Network
from rankstone.runners.transformer.tokens import Expanded, Ids, Tokens
from rankstone.runners.transformer.tower import Tower

Length = Annotated[int, Field(ge=4)]
SKIPPED: dict[str, tuple[str, ...]] = {"punctuation": tuple(string.punctuation), "nothing": ()}
POSITIONS_AFTER_PADDING = {"camembert", "mpnet", "roberta", "xlm-roberta"}
"""Model types whose first position id is the padding token's id plus 1."""
LEARNT_POSITIONS = {"bert", "distilbert", "dpr", "electra", *POSITIONS_AFTER_PADDING}
"""Model types with learned position embeddings, which cannot read longer sequences."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TokenEncoder(TransformerSettings):
    """Parameters and batching shared by token-level encoders; subclasses state the network.

    Each token's vector is scaled to unit length. Queries are float32, documents have the precision
    `storage`.
    """

    query_length: Length
    """Most tokens of a query, markers and special tokens included; the rest is truncated."""
    document_length: Length
    """The same for a document."""
    skip: Literal["punctuation", "nothing"] = "punctuation"
    """Document tokens without a vector (the model still reads them): the characters of
    `string.punctuation` that are single tokens."""
    storage: Storage = "float16"
    """Precision of stored document vectors. "2bit" needs no training, and differs from the 2-bit
    codes of ColBERTv2: see `rankstone.runners.representations.two_bits`."""
    batch_size: Annotated[int, Field(ge=1)] | None = None
    """Most texts per batch; None: as `batch_tokens` allows."""
    dtype: Dtype | None = None
    """`precision` under torch's name."""

    def __post_init__(self) -> None:
        if self.max_length is not None:
            raise DefinitionError(
                "key 'parameters.max_length': late interaction has a limit for each role."
                " State query_length and document_length."
            )
        if self.dtype is not None:
            object.__setattr__(self, "precision", PRECISIONS[self.dtype])
        _check_length(self.model, self.query_length, "query_length")
        _check_length(self.model, self.document_length, "document_length")

    def describe(self) -> Mapping[str, Json]:
        return {
            **self._describe(),
            "skip": list(SKIPPED[self.skip]),
            "dim": self._dim,
            "normalized": True,
            "similarity": "maxsim",
            "storage": STORAGES[self.storage],
            "index": MaxSimIndex.DESCRIPTION,
        }

    def encode(self, texts: Sequence[str], role: Role) -> Ragged:
        """Return the vectors of the compared tokens of each text, in order."""
        storage: Storage = self.storage if role == "document" else "float32"

        def finish(output: Array, ids: Ids, mask: Ids) -> Ragged:
            compared = self._compared(ids, mask, role)
            counts, vectors = compared.sum(axis=1), output[compared]
            if role == "query" and self._mean_over_query:
                vectors /= np.repeat(counts, counts)[:, None].astype(np.float32)
            flat = turned(vectors) if self.storage == "2bit" else vectors
            return ragged(np.split(flat, np.cumsum(counts)[:-1]), output.shape[2], storage)

        batches = list(self._encode(texts, role, finish))
        if not batches:
            return ragged([], self._dim, storage)
        order = np.argsort(np.concatenate([rows for rows, _ in batches]))
        encoded: Ragged = take(concatenate([part for _, part in batches]), order)
        return encoded

    def index(self, documents: Chunks[Ragged], context: Context) -> MaxSimIndex | GpuMaxSimIndex:
        return maxsim(documents, context.device)

    def _tower_of(
        self, role: Role, network: Network, engines: Engines, kind: type[Tower] = Tower
    ) -> Tower:
        tower = super()._tower_of(role, network, engines, kind)
        tower.stated_limit = self.query_length if role == "query" else self.document_length
        tower.batch_size = self.batch_size
        return tower

    @property
    def _mean_over_query(self) -> bool:
        """True if a score is the mean over the query's tokens instead of the sum."""
        return False

    def _compared(self, ids: Ids, mask: Ids, role: Role) -> NDArray[np.bool_]:
        """Return an (n, length) mask of the tokens whose vectors are compared."""
        compared: NDArray[np.bool_] = (mask > 0) & ~np.isin(ids, self._skipped[role])
        return compared

    @cached_property
    def _skipped(self) -> dict[Role, NDArray[np.int64]]:
        """Ids of the tokens that are not compared, by role."""
        tower = self._tower("document")
        modules = (m for m in tower.facts.modules if m["type"] == "MultiVectorMask")
        tasks = next((m["skiplist_tasks"] for m in modules), ["document"])
        words = _known(tower, SKIPPED[self.skip])
        return {role: np.array(words if role in tasks else [], dtype=np.int64) for role in ROLES}

    @cached_property
    def _dim(self) -> int:
        tower = self._tower("document")
        return int(tower.engine.run(*tower.tokens.padded(tower.tokens.encode([""]).ids)).shape[2])


@plain_dataclass(frozen=True, kw_only=True)
class ColBERT(Head):
    """Network of a checkpoint trained for late interaction."""

    dim: int
    attend: dict[Role, bool | None]
    """True if a text's tokens attend to its [MASK] padding; None: it has no such padding."""

    def load(self, network: Network) -> Loaded:
        from rankstone.runners.transformer.token_vectors import load_colbert

        _check_format(network.model)
        return load_colbert(network, self.dim, self.attend["query"])


@plain_dataclass(frozen=True, kw_only=True)
class HiddenStates(Head):
    """Network whose last hidden states, or a linear map of them, are the tokens' vectors."""

    projection: str

    def load(self, network: Network) -> Loaded:
        from rankstone.runners.transformer.token_vectors import load_plain

        return load_plain(network, self.projection)


class QueryTower(Tower):
    """Tower that pads queries with mask tokens."""

    attend: bool

    @cached_property
    def tokens(self) -> Tokens:
        token = self.facts.special_tokens["mask_token"]
        return Expanded(super().tokens, _known(self, [token])[0], attend=self.attend)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LateInteraction(TokenEncoder):
    """ColBERT models, from checkpoints in Stanford's or PyLate's format.

    The first token is followed by a marker of the text's role. A query is padded with mask tokens
    to `query_length`, and their vectors are compared as well: the query augmentation of ColBERT
    (Khattab and Zaharia, SIGIR 2020, section 3.2).
    """

    query_marker: str
    """Query marker as in the model's vocabulary: one token, with or without a space."""
    document_marker: str
    dim: Annotated[int, Field(ge=1)]
    """Expected dimensions of the model's projection."""
    augment_queries: bool = True
    attend_to_mask: bool = False
    """True: a query's tokens attend to its mask tokens. Mask tokens attend in any case."""

    def describe(self) -> Mapping[str, Json]:
        return {
            **super().describe(),
            "markers": {"query": self.query_marker, "document": self.document_marker},
            "augmented": {"query": self.augment_queries, "document": False},
            "attend_to_mask": {"query": self.attend_to_mask, "document": False},
        }

    def _head(self, role: Role) -> ColBERT:
        attend = self.attend_to_mask if self.augment_queries else None
        return ColBERT(dim=self.dim, attend={"query": attend, "document": None})

    def _tower_of(
        self, role: Role, network: Network, engines: Engines, kind: type[Tower] = Tower
    ) -> Tower:
        expanded = role == "query" and self.augment_queries
        tower = super()._tower_of(role, network, engines, QueryTower if expanded else kind)
        if isinstance(tower, QueryTower):
            tower.attend = self.attend_to_mask
        return tower

    def _resolved(self, role: Role) -> str:
        """Return the marker followed by the definition's prompt."""
        marker = self.query_marker if role == "query" else self.document_marker
        tower = self._tower(role)
        ids = tower.tokens.tokenizer.encode(marker, add_special_tokens=False)
        ids = list(getattr(ids, "ids", ids))
        if len(ids) != 1 or ids == _known(tower, [tower.facts.special_tokens.get("unk_token", "")]):
            raise ModelError(
                f"Model '{self.model.id}': the {role} marker {marker!r} is not one token of its"
                f" vocabulary. Correct the key 'parameters.{role}_marker'."
            )
        documented = tower.facts.prompts.get(role)
        if documented and documented.strip() != marker.strip():
            warnings.warn(
                f"Model '{self.model.id}' documents the {role} marker {documented!r};"
                f" the definition states {marker!r}.",
                RankstoneWarning,
                stacklevel=2,
            )
        return marker + (self.prompts or {}).get(role, "")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TokenVectors(TokenEncoder):
    """Last hidden states of any encoder: late interaction without training for it; or a linear map
    of them, as in BGE-M3 (Chen et al. 2024, arXiv:2402.03216)."""

    projection: str = ""
    """Name of the linear map: weights `NAME.weight` of the model, or a file `NAME.pt` beside them;
    empty for none."""
    special_tokens: Literal["keep", "drop", "all but first"] = "keep"
    """keep: the special tokens [CLS] and [SEP] are compared too; drop: they are not; all but first:
    all except [CLS] are."""
    mean_over_query: bool = False
    """True: a score is the mean over the query's tokens, to be added to other scores. It ranks
    documents as the sum does."""

    def describe(self) -> Mapping[str, Json]:
        stated = "maxsim, mean over the query's tokens" if self.mean_over_query else "maxsim"
        own = {"special_tokens": self.special_tokens, "similarity": stated}
        return {**super().describe(), **own}

    def _head(self, role: Role) -> HiddenStates:
        return HiddenStates(projection=self.projection)

    @property
    def _mean_over_query(self) -> bool:
        return self.mean_over_query

    def _compared(self, ids: Ids, mask: Ids, role: Role) -> NDArray[np.bool_]:
        compared = super()._compared(ids, mask, role)
        if self.special_tokens == "all but first":
            compared[np.arange(len(mask)), (mask > 0).argmax(axis=1)] = False
        return compared

    @cached_property
    def _skipped(self) -> dict[Role, NDArray[np.int64]]:
        if self.special_tokens != "drop":
            return super()._skipped
        added = {role: self._tower(role).tokens.encode([""]).ids[0] for role in ROLES}
        return {role: np.append(ids, added[role]) for role, ids in super()._skipped.items()}


def _known(tower: Tower, tokens: Sequence[str]) -> list[int]:
    """Return the ids of the `tokens` that are in the vocabulary."""
    made: Any = tower.tokenizer
    find = made.get_vocab().get if tower.facts.library_tokens else made.token_to_id
    return [number for number in map(find, tokens) if number is not None]


def _check_length(model: LocatedModel, stated: int, key: str) -> None:
    """Raise DefinitionError if `key` states more tokens than the model has positions."""
    settings = read_json(model.folder / "config.json")
    kind, positions = settings.get("model_type"), settings.get("max_position_embeddings")
    if positions is None or kind not in LEARNT_POSITIONS:
        return
    padding = settings.get("pad_token_id")
    spare = 1 + (1 if padding is None else int(padding))
    most = int(positions) - (spare if kind in POSITIONS_AFTER_PADDING else 0)
    if stated > most:
        raise DefinitionError(
            f"key 'parameters.{key}': {stated}, but '{model.id}' has"
            f" positions for {most} tokens. Lower it."
        )


def _check_format(model: LocatedModel) -> None:
    """Raise ModelError without a trained projection, which the library would draw at random.

    Stanford's format shows it in ``config.json``; PyLate's and sentence-transformers' in
    ``config_sentence_transformers.json``, PyLate's older format only by its markers.
    """
    stanford = "HF_ColBERT" in (read_json(model.folder / "config.json").get("architectures") or [])
    settings = read_json(model.folder / "config_sentence_transformers.json")
    named = settings.get("model_type") in ("ColBERT", "MultiVectorEncoder")
    if not stanford and not named and "query_prefix" not in settings:
        raise ModelError(
            f"Model '{model.id}': {model.folder} is not a late-interaction checkpoint of Stanford's"
            " or PyLate's format: it has no trained projection. For the token vectors of a plain"
            " encoder use the adapter 'token_vectors'."
        )
