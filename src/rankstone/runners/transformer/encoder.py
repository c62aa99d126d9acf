"""What encoders on a transformer share: settings, tokens, batches, and the loop over them."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError, RankstoneWarning
from rankstone.runners.document_length import Ruler, ruler
from rankstone.runners.meter import report
from rankstone.runners.models import LocatedModel
from rankstone.runners.protocols import STRICT, Json, Role, Truncation
from rankstone.runners.transformer.backbone import Backbone, read_json
from rankstone.runners.transformer.batching import ahead, by_length, windows
from rankstone.runners.transformer.engines import choice as engines
from rankstone.runners.transformer.engines.choice import Engine, OutOfMemoryError
from rankstone.runners.transformer.normalisation import replaced, straighten
from rankstone.runners.transformer.tokens import Ids, Tokenised, Tokens

ROLES: tuple[Role, ...] = ("query", "document")
PROMPT_NAMES = {"query": ("query",), "document": ("document", "passage", "corpus")}
"""Under which names sentence-transformers looks for the prompt of a role, in its order."""
Length = Annotated[int, Field(ge=1)]
Names = Annotated[tuple[str, ...], Field(strict=False)]
"""A list, as TOML has them, becomes a tuple."""

CPU_BATCH_TOKENS, GPU_BATCH_TOKENS = 2048, 65_536
"""Default budgets: more than the first fall out of a CPU's cache."""

Finish = Callable[[NDArray[np.float32], Ids, Ids], Any]
"""(hidden states (n, length, dim), ids, mask) -> what becomes of each text, as a sequence of n."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TransformerSettings:
    """The parameters of every method that encodes texts by a transformer.

    A subclass says what becomes of the hidden states.
    """

    requires: ClassVar[Mapping[str, str]] = {"torch": "dense", "transformers": "dense"}
    cacheable: ClassVar[bool] = True
    task: ClassVar[Literal["hidden", "mlm", "both", "tied"]] = "hidden"

    model: LocatedModel
    """The encoder of documents, and of queries where `query_model` names no other."""
    query_model: LocatedModel | None = None
    """The encoder of queries, where there are two towers with two checkpoints."""
    max_length: Length | dict[Role, Length] | None = None
    """Tokens per text, special tokens and prompt included, for both roles or for each; None: the
    model's own limit."""
    prompts: dict[Role, str] | None = None
    """What is put before texts of each role: a name among the model's prompts, or the words. A role
    left out takes the model's own prompt for it, with a warning if there is one."""
    tokens_before: Names | None = None
    """Tokens to put before a text instead of the tokenizer's own: `<s> <encoder-only> </s>`. A part
    such as `sep_token` stands for the tokenizer's token of that part."""
    tokens_after: Names | None = None
    """Tokens to put behind a text instead of the tokenizer's own."""
    replace: dict[Role, dict[str, str]] | None = None
    """Strings replaced in texts of a role, before all else."""
    straighten: bool = False
    """Typographic dashes and quotes become ASCII, as Contriever's `normalize_text` has it."""
    lowercase: bool = False
    collapse_whitespace: bool = False
    """Runs of white space become one space, as models of code want it."""
    exit_layer: Length | None = None
    """Take the hidden states after so many layers; those behind are not computed."""
    engine: engines.Name | None = None
    """None: OpenVINO on a CPU where it is installed and able, torch elsewhere."""
    precision: engines.Precision = "fp32"
    """Of the network; whatever follows the hidden states is fp32. int8: linear maps in integers, by
    OpenVINO on a CPU (see `engines.int8`), another method rather than another
    precision."""
    device: str | None = None
    """A torch device; None: the best there is."""
    batch_tokens: Length | None = None
    """So many tokens are encoded together, padding included, or one text; None: as suits the
    device."""
    architecture: str | None = None
    prefix: str | dict[Role, str] = ""
    auto_class: str = "AutoModel"
    output: str | None = None
    output_index: int = -1
    padding_side: Literal["left", "right"] = "right"
    """`left` is for models that pool by themselves (`output`)."""
    pad_to_limit: bool = False
    """Pad every text to max_length, for models whose vectors depend on it."""
    trust_remote_code: bool = False

    def truncation(self, texts: Sequence[str], role: Role) -> Truncation | None:
        """Counts tokens as the model sees them: prompt and special tokens included."""
        tower = self._tower(role)
        if tower.limit is None:
            return None
        total = Truncation()
        for window in windows(texts):
            counts = tower.tokens.encode(self._prepared(texts[window], role)).counts
            total = total.plus(Truncation.of(counts, tower.limit))
        return total

    def _describe(self) -> dict[str, Json]:
        """What all subclasses say of themselves."""
        towers = {role: self._tower(role) for role in ROLES}
        engine = next(t.engine_name for t in towers.values() if t.has_network)
        libraries = ("transformers", "tokenizers", "torch")
        said: dict[str, Json] = {
            **self.model.describe(),
            **towers["document"].backbone.describe(),
            "prompts": {role: self._prompts[role] for role in ROLES},
            "max_length": {role: tower.limit for role, tower in towers.items()},
            "tokens_before": self.tokens_before,
            "tokens_after": self.tokens_after,
            "replace": {role: (self.replace or {}).get(role, {}) for role in ROLES},
            "straighten": self.straighten,
            "lowercase": self.lowercase,
            "padding": f"{self.padding_side}{', to the limit' if self.pad_to_limit else ''}",
            "collapse_whitespace": self.collapse_whitespace,
            "precision": self.precision,
            "device": "cpu" if engine == "openvino" else self.device or engines.best_device(),
            "engine": f"{engine} {version(engine)}",
            "libraries": {name: version(name) for name in libraries},
        }
        if towers["query"] is not towers["document"]:
            query = towers["query"].backbone
            said["query_model"] = {**query.model.describe(), **query.describe()}
        return said

    def _encode(self, texts: Sequence[str], role: Role, finish: Finish) -> Iterator[Any]:
        """(rows, what `finish` makes of them) for every batch, in the order of encoding."""
        tower = self._tower(role)
        tokenise = lambda window: tower.tokens.encode(self._prepared(texts[window], role))  # noqa: E731
        for start, tokenised in ahead(tokenise, windows(texts)):
            for rows, outcome in tower.batches(tokenised, finish):
                yield rows + start, outcome

    def _prepared(self, texts: Sequence[str], role: Role) -> list[str]:
        prompt, replace = self._prompts[role], (self.replace or {}).get(role)
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
        document = self._made("document", self.model)
        shared = self.query_model is None and isinstance(self.prefix, str)
        if shared and not isinstance(self.max_length, dict):
            return {"query": document, "document": document}
        query = self._made("query", self.query_model or self.model)
        if shared:  # the same network, cut at another length
            query.__dict__["engine"] = document.engine
        return {"query": query, "document": document}

    def _made(self, role: Role, model: LocatedModel) -> Tower:
        settings: dict[str, Any] = {
            "task": self.task,
            "exit_layer": self.exit_layer,
            "architecture": self.architecture,
            "prefix": self.prefix if isinstance(self.prefix, str) else self.prefix.get(role, ""),
            "auto_class": self.auto_class,
            "output": self.output,
            "output_index": self.output_index,
            "trust_remote_code": self.trust_remote_code,
        }
        backbone = Backbone(model=model, **{**settings, **self._more(role)})
        stated = self.max_length.get(role) if isinstance(self.max_length, dict) else self.max_length
        return Tower(settings=self, backbone=backbone, stated_limit=stated)

    def _more(self, role: Role) -> dict[str, Any]:
        """The settings of a `Backbone` that a kind of method decides by itself."""
        return {}

    @cached_property
    def _prompts(self) -> dict[Role, str]:
        """The words before texts of each role; warns of documented prompts that are not stated."""
        stated = self.prompts or {}
        words: dict[Role, str] = {}
        for role in ROLES:
            folder = self._tower(role).backbone.model.folder
            documented = read_json(folder / "config_sentence_transformers.json").get("prompts", {})
            named = (documented[name] for name in PROMPT_NAMES[role] if name in documented)
            own = next(named, None) or ""
            said = documented.get(stated[role], stated[role]) if role in stated else own
            special = self._tower(role).backbone.special_tokens
            words[role] = replaced(said, {f"{{{part}}}": token for part, token in special.items()})
            if own and (words[role] != own or role not in stated):
                says = (
                    f"says {words[role]!r}."
                    if role in stated
                    else f"leaves it out, and it is used. Add it: parameters.prompts.{role}."
                )
                warnings.warn(
                    f"Model '{self.model.id}' documents the {role} prompt {own!r};"
                    f" the definition {says}",
                    RankstoneWarning,
                    stacklevel=2,
                )
        return words


@plain_dataclass(kw_only=True)
class Tower:
    """One network with its tokenizer, loaded when first used."""

    has_network: ClassVar[bool] = True

    settings: TransformerSettings
    backbone: Backbone
    stated_limit: int | None

    @cached_property
    def engine(self) -> Engine:
        own = self.settings
        return engines.load(
            self.backbone, engine=own.engine, precision=own.precision, device=own.device
        )

    @property
    def engine_name(self) -> engines.Name:
        """The engine's name, without loading it where that is possible."""
        own = self.settings
        told = engines.name_of(
            self.backbone, engine=own.engine, precision=own.precision, device=own.device
        )
        return told if told and "engine" not in self.__dict__ else self.engine.name

    @property
    def tokenizer(self) -> tuple[Any, int]:
        """A ``tokenizers.Tokenizer``, and the id of its padding token."""
        return self.engine.tokenizer, self.engine.pad

    @cached_property
    def tokens(self) -> Tokens:
        own, special = self.settings, self.backbone.special_tokens
        before, after = (
            None if tokens is None else [special.get(token, token) for token in tokens]
            for tokens in (own.tokens_before, own.tokens_after)
        )
        tokenizer, pad = self.tokenizer
        try:
            return Tokens(
                tokenizer,
                pad=pad,
                limit=self.limit,
                before=before,
                after=after,
                side=own.padding_side,
            )
        except ValueError as error:
            raise DefinitionError(
                f"keys 'parameters.tokens_before', 'tokens_after': {error}. Correct them."
            ) from None

    @property
    def limit(self) -> int | None:
        """Tokens per text: as stated, else the model's own.

        Raises DefinitionError where the model has fewer positions than that.
        """
        self.backbone.check_length(self.stated_limit, "max_length")
        return self.stated_limit or self.backbone.own_limit

    @cached_property
    def _budget(self) -> int:
        if self.settings.batch_tokens is not None:
            return self.settings.batch_tokens
        on_cpu = self.engine.name == "openvino" or (
            (self.settings.device or engines.best_device()) == "cpu"
        )
        return CPU_BATCH_TOKENS if on_cpu else GPU_BATCH_TOKENS

    def batches(self, tokenised: Tokenised, finish: Finish) -> Iterator[tuple[Ids, Any]]:
        """Texts of similar length together, longest first, as many as the budget allows.

        A batch that the device has no memory for is halved, and so is the budget from there on.
        """
        lengths = np.array([len(ids) for ids in tokenised.ids], dtype=np.int64)
        order = np.argsort(-lengths, kind="stable")
        done = 0
        while done < len(order):
            plan = deque[tuple[Ids, Ids, Ids]]()
            try:
                for hidden in self.engine.through(self._padded(tokenised, order[done:], plan)):
                    rows, ids, mask = plan.popleft()
                    done += len(rows)
                    yield rows, finish(hidden, ids, mask)
                    report(self.engine.costs.work(lengths[rows]))
            except OutOfMemoryError:
                self._halve(*plan[0][1].shape)

    def _padded(
        self, tokenised: Tokenised, order: Ids, plan: deque[tuple[Ids, Ids, Ids]]
    ) -> Iterator[tuple[Ids, Ids]]:
        """(ids, mask) of consecutive runs of `order`; their rows go into `plan` as well."""
        multiple = self.limit or 1 if self.settings.pad_to_limit else 1
        lengths = np.array([max(len(tokenised.ids[row]), multiple) for row in order])
        for run in by_length(lengths, batch_tokens=self._budget, batch_size=len(order)):
            rows = order[run]
            ids, mask = self.tokens.padded([tokenised.ids[row] for row in rows], multiple)
            plan.append((rows, ids, mask))
            yield ids, mask

    def _halve(self, n_texts: int, length: int) -> None:
        if n_texts == 1:
            raise MemoryError(
                f"'{self.backbone.model.id}': the device has no memory for a single text of"
                f" {self.limit} tokens. Lower parameters.max_length, or use another device."
            )
        self._budget = min(self._budget, n_texts * length) // 2
        warnings.warn(
            f"the device ran out of memory: from here on {self._budget} tokens are encoded"
            " together (parameters.batch_tokens)",
            RankstoneWarning,
            stacklevel=2,
        )


class DocumentTokens:
    """The tokens of documents, as a method on a transformer counts them."""

    unit = "tokens"

    def __init__(self, settings: TransformerSettings) -> None:
        self._settings, self._tower = settings, settings._tower("document")

    @property
    def limit(self) -> int | None:
        return self._tower.limit

    def ends(self, texts: Sequence[str]) -> list[Ids]:
        """Of texts as they are, before prompts and the like."""
        return self._tower.tokens.ends(texts)

    def counts(self, texts: Sequence[str]) -> Ids:
        return self._tower.tokens.encode(self._settings._prepared(texts, "document")).counts


@ruler.register
def _(runner: TransformerSettings) -> Ruler:
    return DocumentTokens(runner)
