"""Definition of a network from a model's files, and facts known without loading it."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import DefinitionError, ModelError
from rankstone.runners.models import LocatedModel
from rankstone.runners.transformer.checkpoint_files import UnusableError, check_files, read_json
from rankstone.runners.transformer.flops import Costs
from rankstone.runners.transformer.tokens import Tokens

Array = NDArray[np.float32]
TOKENIZER = "tokenizer_config.json"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Properties of a loaded checkpoint, reported by the library and its tokenizer."""

    limit: int | None
    """Most tokens, as stated by the model; None if it states no limit."""
    limits: dict[str, int]
    """Most tokens by role, if stated by the checkpoint's configuration."""
    positions: int | None
    """Number of learnt positions; None if the model needs none."""
    embeddings: int | None
    """Number of token ids with an embedding; None if unknown."""
    pad: int
    truncation_side: Literal["left", "right"]
    library_tokens: bool
    """True if our own tokenisation differs from the library's, whose tokenizer must then be
    used."""
    special_tokens: dict[str, str]
    """Special tokens by name: `sep_token` -> `[SEP]`."""
    prompts: dict[str, str]
    modules: list[dict[str, Any]]
    """Type and configuration of each module after the transformer, in order."""
    vocabulary: int
    """Size of the vocabulary that the network maps onto; 0 if it does not."""
    query_route: list[str]
    """Types of the modules that the checkpoint applies only to queries; empty if there are none."""
    include_prompt: bool
    """True if pooling includes the prompt's tokens."""
    costs: Costs
    reason: str | None = None
    """Reason why there is no exported graph, if one was requested."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Facts:
        known = {field.name: values[field.name] for field in fields(cls)}
        return cls(**{**known, "costs": Costs(*values["costs"])})


class Head(Protocol):
    """Type of a network: the library's class that loads it, and its last modules.

    It is a frozen dataclass: its fields are part of the encoding's key, and the file that defines
    it is part of the key of exports.
    """

    def load(self, network: Network) -> Loaded:
        """Load the network with the model library; imports torch."""

    def comparable(self, outputs: Array, facts: Facts) -> Array:
        """Return the engine's outputs in the form of the library's `encode`, one row per text."""
        return outputs.reshape(len(outputs), -1)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A network in torch, and the library's model that contains it."""

    model: Any
    """The library's model, with all its modules."""
    network: Any
    """Batch of ids and masks, int64 (n, length) each -> one float32 tensor with n rows. Lower
    precisions apply to its `backbone`."""
    facts: Facts
    tokenizer: Any
    """The library's tokenizer, as configured by the library."""
    oracle: Callable[[Sequence[str], str], Array] | None = None
    """The library's `encode` of texts with a prompt; None if it has none for this type."""
    tokens_of: Callable[[Tokens, str], Tokens] | None = None
    """Tokens of texts with a prompt, if the prompt's role changes them."""
    decoder: Any = None
    """(length, dim) states of one text, without padding -> its vector; None if rows are vectors."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network that the model library loads from a model's files."""

    model: LocatedModel
    head: Head
    lora: LocatedModel | None = None
    """A low-rank adapter, merged into the weights."""
    exit_layer: int | None = None
    """Number of layers to keep; modules after the last layer, such as a norm, still apply."""
    feed_forward: float | tuple[float, ...] | None = None
    """Share of units to keep in all feed-forward networks, or one share per layer."""
    architecture: str | None = None
    """Model type of transformers, if it differs from the configuration's."""
    prefix: str = ""
    """Prefix of the names of this network's weights, if a file has several networks."""
    part: str = ""
    """Key in `config.json` of this network's configuration, if there are several. Missing values
    have transformers' defaults."""
    tokenizer_of: str = ""
    """Model whose tokenizer is used: `OWNER/NAME@COMMIT` on the hub, or a folder; empty for the
    model's own."""
    auto_class: str = "AutoModel"
    """The transformers class that loads the network, if a model's code registers another one."""
    output: str | None = None
    """Name of the model's output to use instead of hidden states: vectors that it pools itself."""
    output_index: int = -1
    """Index into that output, if it is a list."""
    trust_remote_code: bool = False
    code: str = ""
    """`OWNER/NAME@COMMIT` of code in another repository that the configuration names."""

    def __post_init__(self) -> None:
        if self.trust_remote_code and self.model.origin != "path" and not self.model.revision:
            raise DefinitionError(
                "key 'parameters.trust_remote_code': code from the hub runs on this machine, so it"
                " must be code that you have reviewed. Pin its commit: key 'revision' of [model]."
            )
        classes = _mapped(self.settings)
        if self.trust_remote_code:
            self.check_code([*classes, *_mapped(read_json(self.model.folder / TOKENIZER))])
        elif classes and not _is_native(self.settings):
            self.check_code(classes)
        if "adapter_config.json" in self.model.files:
            raise ModelError(
                f"Model '{self.model.id}': adapter_config.json makes it an adapter of another"
                " model, whose files nothing pins. Name the other as [model], and this one as"
                " [lora]; or merge both, and name the merged folder."
            )

    def check_code(self, classes: Sequence[str]) -> None:
        """Raise DefinitionError if the remote code of `classes` is not allowed to run."""
        pinned, _, commit = self.code.partition("@")
        known = pinned if re.fullmatch("[0-9a-f]{40}", commit) else None
        elsewhere = [n for n in classes if "--" in n and n.partition("--")[0] != known]
        if self.trust_remote_code and elsewhere:
            raise DefinitionError(
                f"Model '{self.model.id}' is made by code of another repository ({elsewhere[0]}),"
                " whose commit nothing pins. Read it at a commit, and pin that:"
                f' parameters.code = "{elsewhere[0].partition("--")[0]}@COMMIT" (40 digits).'
            )
        if classes and not self.trust_remote_code:
            raise DefinitionError(
                f"Model '{self.model.id}' is made by code that its repository carries"
                f" ({', '.join(classes)}), which would run with your rights. Read it, pin the"
                " commit as 'revision' of [model], and set parameters.trust_remote_code = true."
            )

    def describe(self) -> dict[str, Any]:
        """Return all fields for the record and the cache key, except the model's files."""
        body = {k: value for k, value in asdict(self).items() if k not in ("model", "lora")}
        if self.feed_forward is None:
            del body["feed_forward"]  # keeps the keys of encodings older than this field
        lora = {} if self.lora is None else {"lora": self.lora.describe()}
        return {**body, **lora, "head": {"kind": type(self.head).__name__, **body["head"]}}

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Return the model's `config.json`, or its `part`."""
        whole = read_json(self.model.folder / "config.json")
        settings = whole.get(self.part) if self.part else whole
        if not isinstance(settings, dict):
            raise ModelError(
                f"Model '{self.model.id}': no table '{self.part}' in its config.json."
                " Fetch the model again, or correct [parameters]."
            )
        return settings

    def load(self) -> Loaded:
        """Load the network in float32 on the CPU.

        Raises ModelError, which names a damaged file, if the library cannot load it.
        """
        check_files(self.model)
        if self.lora is not None:
            check_files(self.lora)
        with quiet(), model_errors(f"Model '{self.model.id}' in {self.model.folder}"):
            return self.head.load(self)


@contextlib.contextmanager
def model_errors(what: str) -> Iterator[None]:
    """Convert a library's errors about unusable files to ModelError about `what`."""
    try:
        yield
    except (DefinitionError, ModelError, MemoryError):
        raise
    except Exception as error:
        raise ModelError(f"{what} cannot be loaded: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return the first line of an error, with a fix if it states none."""
    first = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
    if "ignore_mismatched_sizes" in first:
        first = "its weights have other sizes than its config.json states"
    own = isinstance(error, UnusableError)
    return f"{first}." if own else f"{first}. Fetch the model again, or correct its settings."


def _mapped(settings: Mapping[str, Any]) -> list[str]:
    """Return the classes of remote code in a transformers configuration, whose values are names, or
    lists of names and None."""
    found = (settings.get("auto_map") or {}).values()
    lists = [one if isinstance(one, list) else [one] for one in found]
    return sorted({str(name) for names in lists for name in names if name is not None})


def _is_native(settings: Mapping[str, Any]) -> bool:
    """Return True if the installed transformers implements this model type itself."""
    from transformers import CONFIG_MAPPING

    return settings.get("model_type") in CONFIG_MAPPING


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence progress bars of transformers, and libraries' warnings about each other."""
    import logging as levels

    from transformers.utils import logging

    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity(levels.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
