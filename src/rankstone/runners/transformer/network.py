"""Definition of a network made of a model's files, and facts known without loading it again."""

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
    """Settings of a loaded checkpoint, as the library and its tokenizer report them."""

    limit: int | None
    """Tokens that the model takes by its own account; None where it names no limit."""
    limits: dict[str, int]
    """The same for a role, where the checkpoint's settings name one for it."""
    positions: int | None
    """Tokens that the model has learnt positions for; None where it needs none."""
    embeddings: int | None
    """Token ids that have an embedding; None where that is not known."""
    pad: int
    truncation_side: Literal["left", "right"]
    library_tokens: bool
    """True if only the library's own tokenizer gives the library's ids."""
    special_tokens: dict[str, str]
    """Special tokens by their part: `sep_token` -> `[SEP]`."""
    prompts: dict[str, str]
    modules: list[dict[str, Any]]
    """Type and settings of each module behind the transformer, in their order."""
    vocabulary: int
    """Entries of the network's map onto a vocabulary; 0 where it has none."""
    query_route: list[str]
    """Types of the modules through which the checkpoint sends queries alone; empty: there is no
    such way."""
    include_prompt: bool
    """True if the tokens of a prompt are pooled too."""
    costs: Costs
    reason: str | None = None
    """Reason for the absence of an exported graph that was wanted."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Facts:
        known = {field.name: values[field.name] for field in fields(cls)}
        return cls(**{**known, "costs": Costs(*values["costs"])})


class Head(Protocol):
    """The kind of a network: the library's class that loads it, and the modules that end it.

    A frozen dataclass: its fields are part of the encoding's key, and the file that defines it is
    part of the key of exported copies.
    """

    def load(self, network: Network) -> Loaded:
        """Load the network with the model library; imports torch."""

    def comparable(self, outputs: Array, facts: Facts) -> Array:
        """Return the engine's outputs in the form of the library's `encode`, a row per text."""
        return outputs.reshape(len(outputs), -1)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A network in torch, and the library's model that it is part of."""

    model: Any
    """The library's model, with all its modules."""
    network: Any
    """Batch of ids and masks, int64 (n, length) each -> one float32 tensor of n rows; its
    `backbone` is what lower precisions are for."""
    facts: Facts
    tokenizer: Any
    """The library's, as it configured it."""
    oracle: Callable[[Sequence[str], str], Array] | None = None
    """The library's own `encode` of texts with a prompt; None where it has none of this kind."""
    tokens_of: Callable[[Tokens, str], Tokens] | None = None
    """The tokens of texts with a prompt, where the prompt's role changes them."""
    decoder: Any = None
    """(length, dim) states of one text, without padding -> its vector; None: rows are vectors."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network that the model library makes of a model's files."""

    model: LocatedModel
    head: Head
    lora: LocatedModel | None = None
    """A low-rank adapter, merged into the weights."""
    exit_layer: int | None = None
    """Leave after so many layers; what the model does behind its last (a norm) is still done."""
    feed_forward: float | tuple[float, ...] | None = None
    """Keep this share of the units of each feed-forward network, or of that of each layer."""
    architecture: str | None = None
    """A model type of transformers, where that of the settings is not what is wanted."""
    prefix: str = ""
    """Prefix of the names of this network's weights, where a file holds several networks."""
    part: str = ""
    """The key of `config.json` that holds this network's settings, where it holds those of several.
    What the settings leave out is as in transformers' own defaults."""
    tokenizer_of: str = ""
    """The hub's name with its commit (`OWNER/NAME@COMMIT`), or the folder, of a model whose
    tokenizer this one uses."""
    auto_class: str = "AutoModel"
    """The class of transformers that makes the network, where a model's code registers another."""
    output: str | None = None
    """Output of the model to take instead of hidden states: vectors that it pools itself."""
    output_index: int = -1
    """Index into that output, where it is a list."""
    trust_remote_code: bool = False
    code: str = ""
    """`OWNER/NAME@COMMIT` of the code that the settings name, where it is another repository's."""

    def __post_init__(self) -> None:
        if self.trust_remote_code and self.model.origin != "path" and not self.model.revision:
            raise DefinitionError(
                "key 'parameters.trust_remote_code': code from the hub runs on this machine, so it"
                " must be the code that somebody read. Pin its commit: key 'revision' of [model]."
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
        """DefinitionError where `classes`, of code that is no library's, may not run."""
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
        """All but the model's files: what the record and the cache key need besides these."""
        body = {k: value for k, value in asdict(self).items() if k not in ("model", "lora")}
        if self.feed_forward is None:
            del body["feed_forward"]  # the keys of what was encoded before it existed
        lora = {} if self.lora is None else {"lora": self.lora.describe()}
        return {**body, **lora, "head": {"kind": type(self.head).__name__, **body["head"]}}

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The model's `config.json`, or the `part` of it."""
        whole = read_json(self.model.folder / "config.json")
        settings = whole.get(self.part) if self.part else whole
        if not isinstance(settings, dict):
            raise ModelError(
                f"Model '{self.model.id}': no table '{self.part}' in its config.json."
                " Fetch the model again, or correct [parameters]."
            )
        return settings

    def load(self) -> Loaded:
        """The network in float32 on the CPU.

        Raises ModelError where the library cannot make it of the files, naming a broken one.
        """
        check_files(self.model)
        if self.lora is not None:
            check_files(self.lora)
        with quiet(), model_errors(f"Model '{self.model.id}' in {self.model.folder}"):
            return self.head.load(self)


@contextlib.contextmanager
def model_errors(what: str) -> Iterator[None]:
    """Raise what a library raises for files that it cannot use as ModelError about `what`."""
    try:
        yield
    except (DefinitionError, ModelError, MemoryError):
        raise
    except Exception as error:
        raise ModelError(f"{what} cannot be loaded: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The first line of an error, and the mend where it states none."""
    first = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
    if "ignore_mismatched_sizes" in first:
        first = "its weights have other sizes than its config.json states"
    own = isinstance(error, UnusableError)
    return f"{first}." if own else f"{first}. Fetch the model again, or correct its settings."


def _mapped(settings: Mapping[str, Any]) -> list[str]:
    """The classes that settings of transformers map to code of the model's own: each a name, or a
    list of names and None."""
    found = (settings.get("auto_map") or {}).values()
    lists = [one if isinstance(one, list) else [one] for one in found]
    return sorted({str(name) for names in lists for name in names if name is not None})


def _is_native(settings: Mapping[str, Any]) -> bool:
    """True if the installed transformers implements this type of model itself."""
    from transformers import CONFIG_MAPPING

    return settings.get("model_type") in CONFIG_MAPPING


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars of transformers, and the warnings of libraries about each other."""
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
