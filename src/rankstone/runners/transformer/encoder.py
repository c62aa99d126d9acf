"""Parameters of methods that encode texts with a transformer, and the loop over batches."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, reduce
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import RankstoneWarning
from rankstone.runners.document_length import Ruler, ruler
from rankstone.runners.models import LocatedModel
from rankstone.runners.protocols import STRICT, Json, Role, Truncation
from rankstone.runners.transformer.batching import ahead, windows
from rankstone.runners.transformer.engines.choice import Engines
from rankstone.runners.transformer.engines.engine import Name, Precision
from rankstone.runners.transformer.network import Head, Network
from rankstone.runners.transformer.normalisation import replaced, straighten
from rankstone.runners.transformer.tokens import Ids, Tokenised
from rankstone.runners.transformer.tower import Finish, Tower

ROLES: tuple[Role, ...] = ("query", "document")
PROMPT_NAMES = {"query": ("query",), "document": ("document", "passage", "corpus")}
"""Names of a role's prompt in sentence-transformers, in its order of lookup."""
INSTRUCTED = "Instruct: "
"""Prefix of prompts with a task's instruction, which a model documents for one task only."""
Length = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Names = Annotated[tuple[str, ...], Field(strict=False)]
"""A tuple; a list from TOML is converted."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TransformerSettings:
    """Parameters of methods that encode texts with a transformer.

    A subclass states the head of its network, and converts the network's output to
    representations.
    """

    requires: ClassVar[Mapping[str, str]] = {"torch": "dense", "sentence_transformers": "dense"}
    cacheable: ClassVar[bool] = True

    model: LocatedModel
    """Encoder of documents, and of queries unless `query_model` is stated."""
    query_model: LocatedModel | None = None
    """Encoder of queries, for two towers with separate checkpoints."""
    lora: LocatedModel | None = None
    """LoRA adapter in PEFT's format, merged into the weights, for both roles or, with `query_lora`,
    for documents only."""
    query_lora: LocatedModel | None = None
    max_length: Length | dict[Role, Length] | None = None
    """Most tokens per text, special tokens and prompt included, for both roles or by role; None:
    the model's own limit."""
    prompts: dict[Role, str] | None = None
    """Text prepended to texts of each role: a name among the model's prompts, or the prompt itself.
    A role left out gets the model's own prompt, with a warning if there is one."""
    tokenizer: str = ""
    """Model whose tokenizer is used, if the model has none or a wrong one: a folder, or
    `OWNER/NAME@COMMIT` on the hub; empty for the model's own."""
    tokens_before: Names | None = None
    """Tokens before a text instead of the tokenizer's own: `<s> <encoder-only> </s>`. A name such
    as `sep_token` stands for the tokenizer's token of that name."""
    tokens_after: Names | None = None
    """Tokens after a text instead of the tokenizer's own."""
    replace: dict[Role, dict[str, str]] | None = None
    """Strings replaced in texts of a role, before any other step."""
    straighten: bool = False
    """Convert typographic dashes and quotes to ASCII, as Contriever's `normalize_text`."""
    lowercase: bool = False
    collapse_whitespace: bool = False
    """Convert runs of white space to one space, as expected by models of code."""
    exit_layer: Length | None = None
    """Number of the layer whose hidden states are used; later layers are not computed."""
    feed_forward: Share | Annotated[tuple[Share, ...], Field(strict=False)] | None = None
    """Share of leading units kept in the feed-forward networks, for all layers or one per layer:
    MatFormer's sub-models. None: all."""
    engine: Name | None = None
    """None: OpenVINO on a CPU if it is installed and supports the model, else torch."""
    precision: Precision = "fp32"
    """Precision of the network; later steps are fp32. int8: quantised linear maps, by OpenVINO on a
    CPU (see `engines.int8`), which changes the vectors more than rounding does."""
    device: str | None = None
    """A torch device; None: the best available."""
    batch_tokens: Length | None = None
    """Tokens per batch, padding included, or one text if it is longer; None: depends on the
    device."""
    architecture: str | None = None
    prefix: str | dict[Role, str] = ""
    auto_class: str = "AutoModel"
    output: str | None = None
    output_index: int = -1
    padding_side: Literal["left", "right"] = "right"
    """`left` is for models with pooling of their own (`output`)."""
    pad_to_limit: bool = False
    """Pad every text to max_length, for models whose vectors depend on it."""
    trust_remote_code: bool = False
    code: str = ""
    """`OWNER/NAME@COMMIT` of code in another repository that the model's configuration names. Needs
    `trust_remote_code`."""

    def truncation(self, texts: Sequence[str], role: Role) -> Truncation | None:
        """Count truncated tokens, with prompt and special tokens included."""
        limit = self._tower(role).limit
        if limit is None:
            return None
        counts = (Truncation.of(part.counts, limit) for part in self._tokenised(texts, role))
        return reduce(Truncation.plus, counts, Truncation())

    def _describe(self) -> dict[str, Json]:
        """Return the entries shared by the descriptions of all subclasses."""
        towers = {role: self._tower(role) for role in ROLES}
        document, query = towers["document"], towers["query"]
        facts = {role: tower.facts for role, tower in towers.items()}
        running = next(tower for tower in towers.values() if tower.has_network)
        body: dict[str, Json] = {
            **self.model.describe(),
            **document.network.describe(),
            "modules": cast("Json", facts["document"].modules),
            "prompts": {role: self._prompt(role) for role in ROLES},
            "prompt_pooled": running.facts.include_prompt,
            "max_length": {role: tower.limit for role, tower in towers.items()},
            "truncation_side": running.facts.truncation_side,
            "tokens_before": self.tokens_before,
            "tokens_after": self.tokens_after,
            "replace": {role: (self.replace or {}).get(role, {}) for role in ROLES},
            "straighten": self.straighten,
            "lowercase": self.lowercase,
            "padding": f"{self.padding_side}{', to the limit' if self.pad_to_limit else ''}",
            "collapse_whitespace": self.collapse_whitespace,
            **running.engines.describe(),
        }
        if self.tokenizer:
            text = getattr(
                document.tokens.tokenizer, "backend_tokenizer", document.tokens.tokenizer
            )
            body["tokenizer_sha256"] = hashlib.sha256(text.to_str().encode()).hexdigest()
        if query.network != document.network:
            own = cast("Json", facts["query"].modules)
            described = {**query.network.model.describe(), **query.network.describe()}
            body["query_model"] = {**described, "modules": own}
        return body

    def _encode(self, texts: Sequence[str], role: Role, finish: Finish) -> Iterator[Any]:
        """Yield (rows, result of `finish`) for every batch, in the order of encoding."""
        tower, prompt = self._tower(role), self._prompt(role)
        tokenise = lambda window: tower.tokens.encode(self._prepared(texts[window], role))  # noqa: E731
        for start, tokenised in ahead(tokenise, windows(texts, tower.window_texts)):
            for rows, outcome in tower.batches(tokenised, finish, prompt):
                yield rows + start, outcome

    def _tokenised(self, texts: Sequence[str], role: Role) -> Iterator[Tokenised]:
        """Yield tokens of consecutive windows of texts, with bounded memory."""
        tokens = self._tower(role).tokens
        for window in windows(texts):
            yield tokens.encode(self._prepared(texts[window], role))

    def _prepared(self, texts: Sequence[str], role: Role) -> list[str]:
        prompt, replace = self._prompt(role), (self.replace or {}).get(role)
        if replace:
            texts = [replaced(text, replace) for text in texts]
        if self.straighten:
            texts = [straighten(text) for text in texts]
        if self.lowercase:
            texts = [text.lower() for text in texts]
        if self.collapse_whitespace:
            texts = [" ".join(text.split()) for text in texts]
        return [prompt + text for text in texts]

    def _tower(self, role: Role) -> Tower:
        return self._towers[role]

    @cached_property
    def _towers(self) -> dict[Role, Tower]:
        document = self._network("document", self.model)
        query = self._network("query", self.query_model or self.model)
        engines = self._engines(document)
        other = engines if query == document else self._engines(query)
        return {
            "query": self._tower_of("query", query, other),
            "document": self._tower_of("document", document, engines),
        }

    def _tower_of(
        self, role: Role, network: Network, engines: Engines, kind: type[Tower] = Tower
    ) -> Tower:
        stated = self.max_length.get(role) if isinstance(self.max_length, dict) else self.max_length
        return kind(
            network=network,
            role=role,
            engines=engines,
            stated_limit=stated,
            tokens_before=self.tokens_before,
            tokens_after=self.tokens_after,
            padding_side=self.padding_side,
            pad_to_limit=self.pad_to_limit,
            batch_tokens=self.batch_tokens,
        )

    def _engines(self, network: Network) -> Engines:
        return Engines(network, engine=self.engine, precision=self.precision, device=self.device)

    def _head(self, role: Role) -> Head:
        """Return the type of network, which a subclass states."""
        raise NotImplementedError

    def _network(self, role: Role, model: LocatedModel) -> Network:
        settings: dict[str, Any] = {
            "head": self._head(role),
            "lora": (self.query_lora if role == "query" else None) or self.lora,
            "exit_layer": self.exit_layer,
            "feed_forward": self.feed_forward,
            "architecture": self.architecture,
            "prefix": self.prefix if isinstance(self.prefix, str) else self.prefix.get(role, ""),
            "auto_class": self.auto_class,
            "output": self.output,
            "output_index": self.output_index,
            "tokenizer_of": self.tokenizer,
            "trust_remote_code": self.trust_remote_code,
            "code": self.code,
        }
        return Network(model=model, **{**settings, **self._more(role)})

    def _more(self, role: Role) -> dict[str, Any]:
        """Return further fields of the `Network`, which a subclass determines."""
        return {}

    def _prompt(self, role: Role) -> str:
        """Return the prompt of a role; warns if a documented prompt is not stated."""
        if role not in self._prompts:
            self._prompts[role] = self._resolved(role)
        return self._prompts[role]

    @cached_property
    def _prompts(self) -> dict[Role, str]:
        """Cache of resolved prompts."""
        return {}

    def _resolved(self, role: Role) -> str:
        stated, facts = self.prompts or {}, self._tower(role).facts
        named = (facts.prompts[name] for name in PROMPT_NAMES[role] if name in facts.prompts)
        own = next(named, None) or ""
        words = facts.prompts.get(stated[role], stated[role]) if role in stated else own
        parts = {f"{{{part}}}": token for part, token in facts.special_tokens.items()}
        words = replaced(words, parts)
        instructed = own.startswith(INSTRUCTED) and words.startswith(INSTRUCTED)
        if own and (words != own or role not in stated) and not instructed:
            definition = (
                f"states {words!r}."
                if role in stated
                else f"leaves it out, and it is used. Add it: parameters.prompts.{role}."
            )
            warnings.warn(
                f"Model '{self.model.id}' documents the {role} prompt {own!r};"
                f" the definition {definition}",
                RankstoneWarning,
                stacklevel=2,
            )
        return words


class DocumentTokens:
    """Units of a transformer method: the tokens of a document."""

    unit = "tokens"

    def __init__(self, settings: TransformerSettings) -> None:
        self._settings = settings

    @property
    def _tower(self) -> Tower:
        return self._settings._tower("document")

    @property
    def limit(self) -> int | None:
        return self._tower.limit

    def ends(self, texts: Sequence[str]) -> list[Ids]:
        """Return token ends in the unmodified texts, without prompts."""
        return self._tower.tokens.ends(texts)

    def counts(self, texts: Sequence[str]) -> Ids:
        return self._tower.tokens.encode(self._settings._prepared(texts, "document")).counts


@ruler.register
def _(runner: TransformerSettings) -> Ruler:
    return DocumentTokens(runner)
