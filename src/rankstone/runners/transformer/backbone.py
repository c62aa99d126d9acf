"""What of a model's files becomes the network that an encoder runs, and how it is loaded."""

from __future__ import annotations

import contextlib
import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import DefinitionError, ModelError
from rankstone.runners.meter import Work
from rankstone.runners.models import LocatedModel

Weights = Mapping[str, NDArray[np.float32]]
Activation = Literal["log1p", "log1p2"]
"""log1p: log(1 + relu(x)), as SPLADE has it; log1p2: log(1 + log(1 + relu(x)))."""

POSITIONS_AFTER_PADDING = {"camembert", "mpnet", "roberta", "xlm-roberta"}
"""Types of models whose first position has the number behind that of the padding token."""
LEARNT_POSITIONS = {"bert", "distilbert", "dpr", "electra", *POSITIONS_AFTER_PADDING}
"""Types of models that have a vector for each position, and none for those beyond."""


class Costs(NamedTuple):
    """What the floating-point operations of a transformer follow from."""

    weights: int
    """Weights of its linear maps: each is multiplied and added once per token."""
    layers: int
    """Layers in which every token attends to every other."""
    width: int
    """Dimensions of all attention heads of a layer together."""
    local_layers: int = 0
    """Layers in which a token attends to those near it ..."""
    window: int = 0
    """... which are so many."""

    def work(self, lengths: NDArray[np.int64], attended: float | None = None) -> Work:
        """Of one sequence per length."""
        return Work(len(lengths), int(lengths.sum()), self.flops(lengths, attended))

    def flops(self, lengths: NDArray[np.int64], attended: float | None = None) -> float:
        """Operations on sequences of so many tokens each; a multiply-add is two.

        A token costs 2 x weights, and a text of T tokens 4 x T^2 x width a layer: T^2 inner
        products of queries with keys, and as many sums of values; a layer of local attention T x
        window of each. Norms, softmax and the like are left out, as is usual (Kaplan et al.,
        Scaling Laws for Neural Language Models, 2020, section 2.1); so are a pooler, which sees one
        token, and the convolution and the scan of a state-space layer (Mamba), which at the widths
        of its released models are about 3% of what its linear maps take.

        Args:
            attended: (query, key) pairs of tokens that attend, where that is not every token to
                every other of its sequence.
        """
        n = lengths.astype(np.float64)
        near = self.local_layers * float((n * np.minimum(n, self.window)).sum())
        full = self.layers * (float((n**2).sum()) if attended is None else attended)
        return 2 * self.weights * float(n.sum()) + 4 * self.width * (full + near)


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """How the hidden states of a text become one value for every entry of the vocabulary."""

    sum_of: Activation | None = None
    """The sum of this activation over the text's tokens; None: the greatest logit among them."""
    skip: int = 0
    """So many entries at the start of the vocabulary are left out."""
    norm: str = ""
    """The layer norm before the logits, by the name of its weights; none where empty."""


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """The part of a model that turns token ids into one vector per token."""

    model: LocatedModel
    task: Literal["hidden", "mlm", "both", "tied"] = "hidden"
    """`mlm`: the hidden states that the masked-language-model head multiplies with the vocabulary,
    its own transformation applied; the multiplication itself is `decoder` of the engine's `head`.
    `both`: the last layer's states, and those behind them in the same rows.
    `tied`: those of the bare encoder, and its word embeddings as `decoder`."""
    vocabulary: Vocabulary | None = None
    """What the engine's `pooled` makes of hidden states; None: it has none."""
    exit_layer: int | None = None
    """Leave after so many layers; what the model does behind its last (a norm) is still done."""
    architecture: str | None = None
    """A model type of transformers, where that of the settings is not what is wanted."""
    prefix: str = ""
    """What the names of this network's weights begin with, where a file holds several networks."""
    part: str = ""
    """The key of `config.json` that holds this network's settings, where it holds those of several.
    What the settings leave out is as in transformers' own defaults."""
    tokenizer_of: str = ""
    """The hub's name, or the folder, of a model whose tokenizer this one uses, having none."""
    auto_class: str = "AutoModel"
    """The class of transformers that makes the network, where a model's code registers another."""
    output: str | None = None
    """The model's output that is taken in place of hidden states: vectors that it pools itself
    count as one state per text."""
    output_index: int = -1
    """Which of them, where that output is a list."""
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        if self.trust_remote_code and self.model.origin != "path" and not self.model.revision:
            raise DefinitionError(
                "key 'parameters.trust_remote_code': code from the hub runs on this machine, so it"
                " must be the code that somebody read. Pin its commit: key 'revision' of [model]."
            )
        elsewhere = [c for c in map(str, self.settings.get("auto_map", {}).values()) if "--" in c]
        if self.trust_remote_code and elsewhere:
            raise DefinitionError(
                f"Model '{self.model.id}' is made by code of another repository ({elsewhere[0]}),"
                " whose commit nothing pins. Copy that code beside the weights, name it in"
                " config.json without the repository, and set the key 'path' of [model]."
            )
        if not self.trust_remote_code and "auto_map" in self.settings:
            classes = ", ".join(sorted(set(map(str, self.settings["auto_map"].values()))))
            if not _is_native(self.settings):
                raise DefinitionError(
                    f"Model '{self.model.id}' is made by code that its repository carries"
                    f" ({classes}), which would run with your rights. Read it, pin the commit as"
                    " 'revision' of [model], and set parameters.trust_remote_code = true."
                )

    def describe(self) -> dict[str, Any]:
        """All but the model: what the record and the cache key need besides its files."""
        body = {key: value for key, value in asdict(self).items() if key != "model"}
        if self.tokenizer_of:  # no file of the model tells which tokenizer that is today
            body["tokenizer_sha256"] = hashlib.sha256(
                self.tokenizer()[0].to_str().encode()
            ).hexdigest()
        return body

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The model's `config.json`, or the `part` of it."""
        whole = read_json(self.model.folder / "config.json")
        if not self.part:
            return whole
        if not isinstance(whole.get(self.part), dict):
            raise ModelError(
                f"Model '{self.model.id}': no table '{self.part}' in its config.json."
                " Fetch the model again, or correct [parameters]."
            )
        found: dict[str, Any] = whole[self.part]
        return found

    @property
    def positions(self) -> int | None:
        """Tokens that the model has learnt positions for; None where it needs none."""
        kind = self.architecture or self.settings.get("model_type")
        positions = self.settings.get("max_position_embeddings")
        if positions is None or kind not in LEARNT_POSITIONS:
            return None
        padding = self.settings.get("pad_token_id")
        spare = 1 + (1 if padding is None else int(padding))
        return int(positions) - (spare if kind in POSITIONS_AFTER_PADDING else 0)

    def check_length(self, stated: int | None, key: str) -> None:
        """Raise a DefinitionError where `key` states more tokens than there are positions."""
        positions = self.positions
        if stated is not None and positions is not None and stated > positions:
            raise DefinitionError(
                f"key 'parameters.{key}': {stated}, but '{self.model.id}' has"
                f" positions for {positions} tokens. Lower it."
            )

    @property
    def own_limit(self) -> int | None:
        """Tokens that the model takes by its own account; None where it names no limit.

        sentence-transformers' setting comes first, then the lesser of the tokenizer's and the
        number of positions.
        """
        folder = self.model.folder
        stated = read_json(folder / "sentence_bert_config.json").get("max_seq_length")
        if stated:
            return int(stated)
        limits = [
            int(limit)
            for limit in (
                read_json(folder / "tokenizer_config.json").get("model_max_length"),
                self.positions or self.settings.get("max_position_embeddings"),
            )
            if limit and limit < 10**9
        ]
        return min(limits, default=None)

    @cached_property
    def special_tokens(self) -> dict[str, str]:
        """The tokenizer's special tokens by their part: `sep_token` -> `[SEP]`."""
        found: dict[str, str] = {}
        for name in ("special_tokens_map.json", "tokenizer_config.json"):
            for part, token in read_json(self.model.folder / name).items():
                text = token.get("content") if isinstance(token, dict) else token
                if part.endswith("_token") and isinstance(text, str):
                    found[part] = text
        return found

    def load(self) -> Any:
        """The network in float32 on the CPU: a module of (ids, mask) -> (n, length, dim).

        Raises ModelError where transformers cannot make it of the files.
        """
        from rankstone.runners.transformer.networks import network

        with quiet(), _kind_errors(f"Model '{self.model.id}' in {self.model.folder}"):
            return network(self)

    def tokenizer(self) -> tuple[Any, int]:
        """The tokenizer of the `tokenizers` library, and the id of its padding token.

        Raises ModelError where there is none.
        """
        from transformers import AutoTokenizer

        what = f"Model '{self.model.id}' in {self.model.folder}: its tokenizer"
        if self.tokenizer_of:
            what = f"Model '{self.model.id}': the tokenizer of '{self.tokenizer_of}'"
        with quiet(), _kind_errors(what):
            tokenizer = AutoTokenizer.from_pretrained(
                self.tokenizer_of or self.model.folder,
                local_files_only=not self.tokenizer_of,
                trust_remote_code=self.trust_remote_code,
            )
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ModelError(
                f"Model '{self.model.id}': its tokenizer has no form of the library 'tokenizers'."
                " Save one with it: tokenizer.json in the model's folder."
            )
        if backend.get_vocab_size() <= len(tokenizer.all_special_tokens):
            # transformers makes one without words where there are no files.
            raise ModelError(
                f"Model '{self.model.id}' in {self.model.folder} cannot be loaded: its tokenizer"
                " has no vocabulary. Fetch the model again, its tokenizer's files too."
            )
        pad = tokenizer.pad_token_id
        return backend, int(tokenizer.eos_token_id or 0) if pad is None else int(pad)


@contextlib.contextmanager
def _kind_errors(what: str) -> Iterator[None]:
    """What transformers raises for files that it cannot use, as ModelError about `what`."""
    try:
        yield
    except (OSError, ValueError, ImportError, KeyError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(f"{what} cannot be loaded: {reason}") from error


def _is_native(settings: Mapping[str, Any]) -> bool:
    """Whether the installed transformers has this type of model itself."""
    from transformers import CONFIG_MAPPING

    return settings.get("model_type") in CONFIG_MAPPING


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of settings; empty where there is no such file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ModelError(f"{path}: not valid JSON: {error}. Fetch the model again.") from None
    return found if isinstance(found, dict) else {}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the bars of transformers, and the warnings of libraries about each other."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
