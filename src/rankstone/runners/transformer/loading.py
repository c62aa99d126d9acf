"""Loading of checkpoints by sentence-transformers. Imports torch: import this inside functions."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from sentence_transformers.base.modules import Dense, Module, Router, Transformer
from torch import nn
from transformers import PreTrainedModel

from rankstone.errors import DefinitionError, ModelError
from rankstone.runners.transformer.checkpoint_files import (
    UnusableError,
    check_files,
    foreign_modules,
)
from rankstone.runners.transformer.flops import costs
from rankstone.runners.transformer.lora import merge
from rankstone.runners.transformer.network import Facts, Network, model_errors, quiet
from rankstone.runners.transformer.submodels.early_exit import leave
from rankstone.runners.transformer.submodels.nested_widths import narrow
from rankstone.runners.transformer.tokens import library_ids, same_tokens

TASKS = {
    "AutoModel": "feature-extraction",
    "AutoModelForMaskedLM": "fill-mask",
    "AutoModelForSequenceClassification": "sequence-classification",
    "AutoModelForCausalLM": "text-generation",
}
"""transformers class -> the library's name of its task."""
OUTPUTS = {"fill-mask": "logits", "text-generation": "logits"}
TOKENIZER_FILES = re.compile(r"token|^(vocab|merges|spiece|sentencepiece|special)")
ROUTES = ("document", "default")


def checkpoint(network: Network, kind: Any) -> Any | None:
    """Return the checkpoint loaded as `kind`, a model class of the library; None if it does not
    have the library's format (`modules.json`)."""
    own = network.prefix or network.architecture or network.output or network.tokenizer_of
    plainly = own or _check_task(network)
    if plainly or "modules.json" not in network.model.files:
        return None
    return opened(network, kind)


def opened(network: Network, kind: Any) -> Any:
    """Load the model's folder as `kind`, a model class of the library."""
    network.check_code(foreign_modules(network.model.folder))
    model = kind(str(network.model.folder), device="cpu", **arguments(network, shared=True))
    check(first(model), network)
    return model


def plain(network: Network, task: str) -> Any:
    """Return the library's module of a plain transformer, for `task` in the library's terms."""
    task = TASKS[network.auto_class] if _check_task(network) else task
    output = network.output or OUTPUTS.get(task, "last_hidden_state")
    name = "sentence_embedding" if network.output else "token_embeddings"
    text = {"text": {"method": "forward", "method_output_name": output}}
    with _folder(network) as folder:
        module = Transformer(
            str(folder),
            transformer_task=task,
            modality_config=text,
            module_output_name=name,
            **arguments(network),
        )
    check(module, network)
    if network.output is not None:
        _choose(module, network)
    return module


def first(model: Any) -> Any:
    """Return the transformer module; after a router, that of documents."""
    module = _modules(model)[0]
    if getattr(module, "auto_model", None) is None:
        raise UnusableError(
            f"its first module is a {type(module).__name__}, and only transformers are encoded"
            " here. Name a model that begins with one"
        )
    return module


def behind(model: Any) -> list[Any]:
    """Return the modules after the transformer, in order."""
    return _modules(model)[1:]


def _modules(model: Any) -> list[Any]:
    """Return the modules in order; for a router, those of documents."""
    modules: list[Any] = list(model)
    routes: Any = modules[0].sub_modules if isinstance(modules[0], Router) else {}
    return [*next((routes[r] for r in ROUTES if r in routes), modules[:1]), *modules[1:]]


def _check_task(network: Network) -> bool:
    """Return True if the definition states a class other than the default."""
    if network.auto_class not in TASKS:
        raise DefinitionError(
            f"key 'parameters.auto_class': '{network.auto_class}' is not known."
            f" Name one of {', '.join(TASKS)}."
        )
    return network.auto_class != "AutoModel"


def arguments(network: Network, shared: bool = False) -> dict[str, Any]:
    """Return keyword arguments that restrict the library to local files, pinned code and
    float32."""
    commit = network.code.partition("@")[2]
    local: dict[str, Any] = {"local_files_only": not commit}
    local["trust_remote_code"] = network.trust_remote_code
    code = {"code_revision": commit} if commit else {}
    own = {"model_kwargs": {**local, **code, "dtype": torch.float32}}
    own |= {"processor_kwargs": dict(local), "config_kwargs": {**local, **code}}
    return {**own, **local} if shared else own


@contextlib.contextmanager
def _folder(network: Network) -> Iterator[Path]:
    """Yield the model's folder, or a temporary one with this network's part in the usual layout."""
    if not (network.prefix or network.part or network.architecture or network.tokenizer_of):
        yield network.model.folder
        return
    with tempfile.TemporaryDirectory(prefix="rankstone-") as made:
        _lay_out(network, Path(made))
        yield Path(made)


def _lay_out(network: Network, folder: Path) -> None:
    from safetensors.torch import save_file

    values = dict(network.settings)
    if network.architecture or network.part:
        values["model_type"] = network.architecture or "bert"
        values.pop("architectures", None)
    weights = (".safetensors", ".bin")
    for path in network.model.folder.iterdir():
        left_out = path.name == "config.json" or (network.prefix and path.suffix in weights)
        if network.tokenizer_of and TOKENIZER_FILES.search(path.name):
            continue  # saved below; through a link, the model's own file would be overwritten
        if path.is_file() and not left_out:
            (folder / path.name).symlink_to(path.resolve())
    (folder / "config.json").write_text(json.dumps(values))
    if network.prefix:
        tensors = {
            name.removeprefix(network.prefix): tensor.contiguous()
            for name, tensor in state(network.model.folder).items()
            if name.startswith(network.prefix)
        }
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    if network.tokenizer_of:
        tokenizer(network).save_pretrained(folder)


def tokenizer(network: Network) -> Any:
    """Return the tokenizer of the files, or of `tokenizer_of`, loaded by transformers.

    Raises ModelError if there is none.
    """
    from transformers import AutoTokenizer

    other, _, commit = network.tokenizer_of.partition("@")
    if other and not commit and not Path(other).is_dir():
        raise DefinitionError(
            f"key 'parameters.tokenizer': '{other}' is no folder, and of the hub no commit pins it."
            f" Write {other}@COMMIT."
        )
    what = f"Model '{network.model.id}' in {network.model.folder}: its tokenizer"
    what = f"Model '{network.model.id}': the tokenizer of '{other}'" if other else what
    if not other:
        check_files(network.model)
    with quiet(), model_errors(what):
        made = AutoTokenizer.from_pretrained(
            other or network.model.folder,
            revision=commit or None,
            local_files_only=not other,
            trust_remote_code=network.trust_remote_code,
        )
        _check_vocabulary(made)
    return made


def _check_vocabulary(made: Any) -> None:
    if made is None or len(made) <= len(made.all_special_tokens):
        # Without files, transformers returns a tokenizer with an empty vocabulary.
        raise UnusableError(
            "its tokenizer has no vocabulary. Fetch the model again, its tokenizer's files too."
        )


def check(module: Any, network: Network) -> None:
    """Raise ModelError if weights are missing, which would be random; then reduce to a
    sub-model."""
    model = module.auto_model
    missing = absent(model)
    needed = [n for n in missing if "pooler" not in n]
    if needed:
        raise ModelError(
            f"Model '{network.model.id}': no weights '{network.prefix}{needed[0]}' in"
            f" {network.model.folder} ({len(needed)} missing). Correct the prefix, or fetch the"
            " model again."
        )
    if missing:
        model.pooler = None
    _recompute(model)
    if network.lora is not None:
        merge(model, network.lora, state(network.lora.folder))
    model.config.use_cache = False  # unused, and a cache cannot be exported
    if network.exit_layer is not None:
        leave(model, network.exit_layer, network.model.id)
    if network.feed_forward is not None:
        narrow(model, network.feed_forward, network.model.id)
    _check_vocabulary(module.tokenizer)
    if module.tokenizer.pad_token is None:  # padding is masked, so any token will do
        module.tokenizer.pad_token = module.tokenizer.eos_token or module.tokenizer.unk_token


def _recompute(model: Any) -> None:
    """Recompute buffers that are not in the weights, such as rotary position angles.

    transformers creates a model without memory, and initialises only buffers of its own modules:
    those of remote code would remain uninitialised memory.
    """
    lost = dict(model.named_non_persistent_buffers())
    if not lost or type(model).__module__.startswith("transformers."):
        return
    with torch.random.fork_rng(devices=[]):
        made = dict(type(model)(model.config).named_buffers())
    for name, buffer in lost.items():
        path, _, leaf = name.rpartition(".")
        model.get_submodule(path)._buffers[leaf] = made[name].to(buffer)


def absent(model: Any) -> list[str]:
    """Return the weights that were in no file; none if the model's code loads them itself."""
    usual: Any = PreTrainedModel.from_pretrained  # marks what it loads
    flagged = type(model).from_pretrained.__func__ is usual.__func__
    parameters = dict(model.named_parameters()) if flagged else {}
    return [n for n, p in parameters.items() if not getattr(p, "_is_hf_initialized", False)]


def _choose(module: Any, network: Network) -> None:
    """Select one vector if the model's output is a list of them."""
    ids = torch.ones((1, 2), dtype=torch.long)
    with torch.inference_mode():
        output = module.auto_model(input_ids=ids, attention_mask=ids)[network.output]
    if isinstance(output, (list, tuple)):
        take(module, (network.output, network.output_index))


def take(module: Any, output: Any) -> None:
    """Set the module's output to a named output of the transformer."""
    text = {**module.modality_config["text"], "method_output_name": output}
    module.modality_config = {
        **module.modality_config,
        "text": text,
    }  # a copy: the original is the library's


def state(folder: Path) -> dict[str, torch.Tensor]:
    """Return all tensors of the folder's weights; pickles are read without running code."""
    from safetensors.torch import load_file

    tensors: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(path)
    if tensors:
        return tensors
    for path in sorted(folder.glob("pytorch_model*.bin")) or sorted(folder.glob("*.bin")):
        tensors |= torch.load(path, map_location="cpu", weights_only=True)
    return tensors


def part(network: Network, name: str, key: str) -> torch.Tensor | None:
    """Return the weights `key` of a file `name.pt` if it exists, else `name.key` of all weights."""
    beside = network.model.folder / f"{name}.pt"
    if beside.name in network.model.files:
        found = torch.load(beside, map_location="cpu", weights_only=True).get(key)
    else:
        found = state(network.model.folder).get(f"{name}.{key}")
    return None if found is None else found.float()


def named(network: Network, name: str, key: str = "weight") -> torch.Tensor:
    """Return the weights `name.key`; ModelError if there are none."""
    found = part(network, name, key)
    if found is None:
        raise ModelError(
            f"Model '{network.model.id}': no weights '{name}.{key}' in {network.model.folder}."
            " Correct [parameters], or fetch the model again."
        )
    return found


def linear(network: Network, name: str, features: str) -> Dense:
    """Return the linear map with the weights `name`, for the library's `features`.

    Raises ModelError if the weights are missing or not those of a linear map.
    """
    weight, bias = named(network, name), part(network, name, "bias")
    if weight.dim() != 2:
        raise ModelError(
            f"Model '{network.model.id}': '{name}' is not a linear map. Correct [parameters]."
        )
    return Dense(
        weight.shape[1], weight.shape[0], bias is not None, nn.Identity(), weight, bias,
        module_input_name=features,
    )  # fmt: skip


def facts(
    model: Any,
    *,
    words: torch.Tensor | None = None,
    more: Sequence[Any] = (),
    library_tokens: bool | None = None,
) -> Facts:
    """Return the facts of the library's `model` and of its tokenizer.

    Args:
        words: weights of a map onto the vocabulary that is not one of the modules.
        more: modules after the transformer, if they differ from the model's.
        library_tokens: the fact of this name; None: determined by comparing tokens of single texts.
    """
    module = first(model)
    made, net = module.tokenizer, module.auto_model
    after = [*more] or behind(model)
    stated = made.model_max_length if made.model_max_length < 10**9 else None
    learnt = positions(net)
    roles = {"query": "query_length", "document": "document_length"}
    lengths = {r: getattr(module, name, None) for r, name in roles.items()}
    pad = made.pad_token_id
    if library_tokens is None:
        library_tokens = not same_tokens(library_ids(module), made)
    return Facts(
        limit=min((n for n in (stated, learnt) if n), default=None),
        limits={role: int(n) for role, n in lengths.items() if n},
        positions=learnt,
        embeddings=_embeddings(net),
        pad=int(pad or 0),
        truncation_side=made.truncation_side,
        library_tokens=library_tokens,
        special_tokens={
            part: token for part, token in made.special_tokens_map.items() if isinstance(token, str)
        },
        prompts={name: words for name, words in getattr(model, "prompts", {}).items() if words},
        modules=[{"type": type(m).__name__, **_settings(m)} for m in after],
        vocabulary=0 if words is None else len(words),
        query_route=_query_route(model),
        include_prompt=all(getattr(m, "include_prompt", True) for m in after),
        costs=costs(net, 0 if words is None else words.numel()),
    )


def _query_route(model: Any) -> list[str]:
    routes: Any = model[0].sub_modules if isinstance(model[0], Router) else {}
    return [type(module).__name__ for module in routes["query"]] if "query" in routes else []


def _settings(module: Any) -> dict[str, Any]:
    return dict(module.get_config_dict()) if isinstance(module, Module) else {}


def _embeddings(net: Any) -> int | None:
    """Return the number of token ids with an embedding; None if the network does not state it."""
    try:
        return int(net.get_input_embeddings().weight.shape[0])
    except (AttributeError, NotImplementedError):
        return None


def positions(net: nn.Module) -> int | None:
    """Return the number of positions, learnt or tabulated; None if the network needs none."""
    named = ((path.rpartition(".")[2], module) for path, module in net.named_modules())
    numbers = [
        module.num_embeddings - _offset(module)
        for name, module in named
        if isinstance(module, nn.Embedding)
        and ("position" in name or name == "wpe")
        and "rel" not in name
    ]
    return min(numbers, default=None)


def _offset(table: nn.Embedding) -> int:
    """Return the rows before that of the first token: up to the padding token's, or as stated."""
    if table.padding_idx is not None:
        return table.padding_idx + 1
    return int(getattr(table, "offset", 0))
