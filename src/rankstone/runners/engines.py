"""Who computes a transformer's hidden states: torch, or OpenVINO on a CPU.

OpenVINO runs a copy of the network in its own format, made once from the torch module and kept in
the cache folder. With it neither torch nor transformers is imported again, which would take longer
than encoding many queries.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import DefinitionError, MissingExtraError, ModelError, RankstoneWarning
from rankstone.runners.backbone import Backbone, Costs, Vocabulary, Weights, quiet, read_json
from rankstone.specs import canonical_digest

Name = Literal["torch", "openvino"]
Precision = Literal["fp32", "bf16", "int8"]
OPENVINO_HINT = {"fp32": "f32", "bf16": "bf16"}
FORMAT = 1
"""Changes whenever a converted copy made by older code must not be used."""


class OutOfMemoryError(Exception):
    """The device has no memory for a batch of this size."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A loaded network.

    Attributes:
        hidden: (ids, mask), both (n, length) int64 -> (n, length, dim) float32; raises
            OutOfMemoryError.
        pooled: (length, dim) float32 states of one text, without padding -> (vocabulary,) float32,
            as `Backbone.vocabulary` says; None where that says nothing.
        multiple: lengths of batches are best multiples of this.
    """

    name: Name
    hidden: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
    tokenizer: Any
    pad: int
    head: Weights
    costs: Costs
    pooled: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None
    multiple: int = 1


def resolve(engine: Name | None, precision: Precision, device: str | None) -> Name:
    """The engine to use: as asked, else OpenVINO where a CPU does the work and it is installed."""
    if engine == "openvino" and importlib.util.find_spec("openvino") is None:
        raise MissingExtraError("The engine 'openvino'", "dense")
    if engine == "openvino" and (precision == "int8" or device not in (None, "cpu")):
        raise DefinitionError(
            "key 'parameters.engine': openvino computes in fp32 or bf16, on the CPU."
            ' Remove the key, or set precision = "fp32" and no device.'
        )
    if engine is not None:
        return engine
    able = precision in OPENVINO_HINT and importlib.util.find_spec("openvino") is not None
    return "openvino" if able and device in (None, "cpu") and not _has_accelerator() else "torch"


def best_device() -> str:
    """The torch device to use where none is named."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def name_of(
    backbone: Backbone, *, engine: Name | None, precision: Precision, device: str | None
) -> Name | None:
    """The engine that `load` would give, if that can be told without loading the network."""
    resolved = resolve(engine, precision, device)
    told = resolved == "torch" or engine is not None or _place(backbone).is_dir()
    return resolved if told else None


def _has_accelerator() -> bool:
    """Whether torch has a GPU to use, found out without importing torch where there is no trace."""
    traces = ("/dev/nvidiactl", "/dev/kfd", "/System/Library/Frameworks/Metal.framework")
    return any(Path(trace).exists() for trace in traces) and best_device() != "cpu"


def load(
    backbone: Backbone, *, engine: Name | None, precision: Precision, device: str | None
) -> Engine:
    """The network of `backbone`, ready.

    Raises:
        ModelError: the files do not make the network; or OpenVINO was asked for and cannot run it.
    """
    if resolve(engine, precision, device) == "torch":
        return _torch(backbone, precision, device or best_device())
    try:
        return _openvino(backbone, precision)
    except _NotConvertibleError as error:
        if engine == "openvino":
            raise ModelError(
                f"Model '{backbone.model.id}': OpenVINO cannot run it: {error}."
                ' Set parameters.engine = "torch".'
            ) from error
        warnings.warn(
            f"Model '{backbone.model.id}': OpenVINO cannot run it ({error}); torch does.",
            RankstoneWarning,
            stacklevel=2,
        )
        return _torch(backbone, precision, "cpu")


def _torch(backbone: Backbone, precision: Precision, device: str) -> Engine:
    import torch

    from rankstone.runners.networks import costs

    module = backbone.load()
    counted, head = costs(module), module.head
    if precision == "int8":
        with quiet():
            quantize: Any = torch.ao.quantization.quantize_dynamic
            module = quantize(module, {torch.nn.Linear}, torch.qint8)
    module = module.to(device, torch.bfloat16 if precision == "bf16" else torch.float32)

    def hidden(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        try:
            with torch.inference_mode():
                states = module(torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device))
                found: NDArray[np.float32] = states.float().cpu().numpy()
                return found
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise OutOfMemoryError(str(error)) from error

    tokenizer, pad = backbone.tokenizer()
    return Engine(
        name="torch",
        hidden=hidden,
        tokenizer=tokenizer,
        pad=pad,
        head=head,
        costs=counted,
        pooled=_torch_pooled(backbone, head, precision, device),
    )


def _torch_pooled(backbone: Backbone, head: Weights, precision: Precision, device: str) -> Any:
    import torch

    from rankstone.runners.decoder import PIECE, Decoder

    if backbone.vocabulary is None:
        return None
    number = torch.bfloat16 if precision == "bf16" else torch.float32
    piece = PIECE if device == "cpu" else len(head["decoder.weight"])
    decoder = Decoder(head, backbone.vocabulary, piece=piece).to(device, number)

    def pooled(states: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            values = decoder(torch.from_numpy(states).to(device, number))
            found: NDArray[np.float32] = values.float().cpu().numpy()
            return found

    return pooled


class _NotConvertibleError(Exception):
    """OpenVINO does not know an operation of the network."""


def _openvino(backbone: Backbone, precision: Precision) -> Engine:
    import openvino
    from tokenizers import Tokenizer

    folder = _converted(backbone)
    about = read_json(folder / "about.json")
    core = openvino.Core()

    def compiled(name: str) -> Callable[..., NDArray[np.float32]]:
        settings = {
            "INFERENCE_PRECISION_HINT": OPENVINO_HINT[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": int(os.environ.get("OMP_NUM_THREADS") or 0) or _cores(),
        }
        request = core.compile_model(folder / name, "CPU", settings).create_infer_request()
        # The result is copied: the request would overwrite it with the next one.
        return lambda *inputs: request.infer(list(inputs), share_inputs=True)[0]

    return Engine(
        name="openvino",
        hidden=compiled("model.xml"),
        tokenizer=Tokenizer.from_file(str(folder / "tokenizer.json")),
        pad=about["pad"],
        head=_Head(folder / "head.safetensors"),
        costs=Costs(*about["costs"]),
        pooled=None if backbone.vocabulary is None else compiled("decoder.xml"),
    )


class _Head(Mapping[str, NDArray[np.float32]]):
    """Weights in a file, read when asked for: a whole vocabulary is large, and seldom wanted."""

    def __init__(self, path: Path) -> None:
        from safetensors import safe_open

        self._file: Any = safe_open(path, "numpy")

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        if name not in self._file.keys():  # noqa: SIM118
            raise KeyError(name)
        found: NDArray[np.float32] = self._file.get_tensor(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._file.keys())

    def __len__(self) -> int:
        return len(self._file.keys())


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cache_folder() -> Path:
    """Where converted networks are kept: below `RANKSTONE_CACHE`, else the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rankstone"
    return Path(os.environ.get("RANKSTONE_CACHE") or default).expanduser() / "networks"


def _converted(backbone: Backbone) -> Path:
    """The folder of the converted copy, made if there is no whole one."""
    folder = _place(backbone)
    if not _whole(folder):
        _convert(backbone, folder)
    return folder


def _place(backbone: Backbone) -> Path:
    """Where the converted copy is, or would be."""
    code = [Path(__file__).with_name(name) for name in ("engines.py", "networks.py", "decoder.py")]
    material = {
        "format": FORMAT,
        "openvino": version("openvino"),
        "transformers": version("transformers"),
        "torch": version("torch"),
        "code": [hashlib.sha256(path.read_bytes()).hexdigest() for path in code],
        "files": backbone.model.files,
        "backbone": backbone.describe(),
    }
    return cache_folder() / canonical_digest(material)[:32]


def _whole(folder: Path) -> bool:
    """Whether every file of a converted copy is there as it was written."""
    files = read_json(folder / "about.json").get("files", {})
    return bool(files) and all(
        (folder / name).is_file() and _sha256(folder / name) == digest
        for name, digest in files.items()
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _convert(backbone: Backbone, folder: Path) -> None:
    """Write the copy beside its place, and move it there when it is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as making:
        made = Path(making) / "made"
        made.mkdir()
        _write_copy(backbone, made)
        if folder.exists():  # damaged, or another process was as quick
            shutil.rmtree(folder, ignore_errors=True)
        try:
            made.rename(folder)
        except OSError:
            if not _whole(folder):
                raise


def _write_copy(backbone: Backbone, folder: Path) -> None:
    import openvino
    import torch
    from safetensors.numpy import save_file

    from rankstone.runners.networks import costs

    module = backbone.load()
    ids = torch.arange(1, 17).reshape(2, 8)
    mask = (torch.arange(8) < torch.tensor([[8], [5]])).long()
    with quiet(), torch.inference_mode():
        try:
            model = openvino.convert_model(module, example_input=(ids, mask))
            _compare(model, module)
        except Exception as error:
            reason = str(error).strip().split("\n")[0]
            raise _NotConvertibleError(reason) from error
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    if backbone.vocabulary is not None:
        _write_decoder(module.head, backbone.vocabulary, folder)
    save_file({name: np.ascontiguousarray(w) for name, w in module.head.items()},
              folder / "head.safetensors")  # fmt: skip
    tokenizer, pad = backbone.tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    files = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
    about = {"model": backbone.model.id, "pad": pad, "costs": costs(module), "files": files}
    (folder / "about.json").write_text(json.dumps(about, indent=1))


def _write_decoder(head: Weights, vocabulary: Vocabulary, folder: Path) -> None:
    import openvino
    import torch

    from rankstone.runners.decoder import Decoder

    decoder = Decoder(head, vocabulary)
    dim = head["decoder.weight"].shape[1]
    with quiet(), torch.inference_mode():
        states = torch.linspace(-1, 1, 7 * dim).reshape(7, dim)
        try:
            model = openvino.convert_model(
                decoder, example_input=(states[:3],), input=[openvino.PartialShape([-1, dim])]
            )
            _check_equal(model, [states], decoder(states))
        except Exception as error:
            reason = str(error).strip().split("\n")[0]
            raise _NotConvertibleError(reason) from error
    openvino.save_model(model, folder / "decoder.xml", compress_to_fp16=False)


def _compare(model: Any, module: Any) -> None:
    """Raise unless the copy computes what torch does, at another shape than it was traced with."""
    import torch

    ids = torch.arange(1, 40).reshape(3, 13)
    mask = (torch.arange(13) < torch.tensor([[13], [7], [1]])).long()
    _check_equal(model, [ids, mask], module(ids, mask), where=mask.numpy()[..., None])


def _check_equal(model: Any, inputs: list[Any], expected: Any, where: Any = 1) -> None:
    import openvino

    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled([tensor.numpy() for tensor in inputs])[0]
    wanted = expected.numpy()
    apart = np.abs(where * (found - wanted)).max()
    if not apart <= 1e-3 * np.abs(wanted).max():
        raise ValueError(f"its results differ from torch's by {apart:.2g}")
