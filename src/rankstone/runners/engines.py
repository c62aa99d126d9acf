"""Who computes a transformer's hidden states: torch, or OpenVINO on a CPU.

OpenVINO runs a copy of the network in its own format, made once from the torch module and kept in
the cache folder. With it neither torch nor transformers is imported again, which would take longer
than encoding many queries.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import DefinitionError, MissingExtraError, ModelError, RankstoneWarning
from rankstone.runners.backbone import Backbone, Costs, Weights, quiet, read_json
from rankstone.specs import canonical_digest

Name = Literal["torch", "openvino"]
Precision = Literal["fp32", "bf16", "int8"]
OPENVINO_HINT = {"fp32": "f32", "bf16": "bf16"}
FORMAT = 1
"""Changes whenever a converted copy made by older code must not be used."""


class OutOfMemoryError(Exception):
    """The device has no memory for a batch of this size."""


Hidden = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
"""(ids, mask), both (n, length) int64 -> (n, length, dim) float32; raises OutOfMemoryError."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A loaded network.

    Attributes:
        hidden: computes one batch with all cores.
        lane: computes one batch with its share of the cores; as many threads as there are `lanes`
            may call it at once. Several batches are done sooner by lanes than one after another,
            for cores then need not wait for each other within a layer.
    """

    name: Name
    hidden: Hidden
    tokenizer: Any
    pad: int
    head: Weights
    costs: Costs
    lane: Hidden | None = None
    lanes: int = 1

    def through(
        self, batches: Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]
    ) -> Iterator[NDArray[np.float32]]:
        """The hidden states of each batch, in order; a batch is asked for when there is room."""
        ready = list(islice(batches, 2))
        if self.lane is None or self.lanes == 1 or len(ready) < 2:
            for batch in chain(ready, batches):
                yield self.hidden(*batch)
            return
        with ThreadPoolExecutor(self.lanes) as pool:
            waiting: deque[Future[NDArray[np.float32]]] = deque()
            for batch in chain(ready, batches):
                waiting.append(pool.submit(self.lane, *batch))
                if len(waiting) > self.lanes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()


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
        except RuntimeError as error:
            if not isinstance(error, torch.OutOfMemoryError) and not _says_memory(error):
                raise
            torch.cuda.empty_cache()
            raise OutOfMemoryError(str(error)) from error

    tokenizer, pad = backbone.tokenizer()
    return Engine(
        name="torch", hidden=hidden, tokenizer=tokenizer, pad=pad, head=head, costs=counted
    )


def _says_memory(error: RuntimeError) -> bool:
    """Not every device of torch has an error of its own for that."""
    return any(words in str(error) for words in ("out of memory", "can't allocate memory"))


class _NotConvertibleError(Exception):
    """OpenVINO does not know an operation of the network."""


def _openvino(backbone: Backbone, precision: Precision) -> Engine:
    import openvino
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    folder, cores = _converted(backbone), _cores()
    about = read_json(folder / "about.json")

    def requests(streams: int) -> SimpleQueue[Any]:
        """One request per stream, each of which has its share of the cores."""
        settings = {
            "INFERENCE_PRECISION_HINT": OPENVINO_HINT[precision],
            "INFERENCE_NUM_THREADS": cores,
            "NUM_STREAMS": streams,
        }
        compiled = openvino.Core().compile_model(folder / "model.xml", "CPU", settings)
        free: SimpleQueue[Any] = SimpleQueue()
        for _ in range(streams):
            free.put(compiled.create_infer_request())
        return free

    return Engine(
        name="openvino",
        hidden=_Streams(lambda: requests(1)),
        lane=_Streams(lambda: requests(cores)),
        lanes=cores,
        tokenizer=Tokenizer.from_file(str(folder / "tokenizer.json")),
        pad=about["pad"],
        head=load_file(folder / "head.safetensors"),
        costs=Costs(*about["costs"]),
    )


class _Streams:
    """Runs a compiled network, which is compiled at the first call; callers wait for a request."""

    def __init__(self, make: Callable[[], SimpleQueue[Any]]) -> None:
        self._make, self._lock = make, Lock()
        self._free: SimpleQueue[Any] | None = None

    def __call__(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        with self._lock:
            if self._free is None:
                self._free = self._make()
        request = self._free.get()
        try:
            # The result is copied: the request would overwrite it with the next one.
            found: NDArray[np.float32] = request.infer([ids, mask], share_inputs=True)[0]
            return found
        finally:
            self._free.put(request)


def _cores() -> int:
    """Threads to use: as the harness says, else all cores of this process."""
    if stated := os.environ.get("OMP_NUM_THREADS", ""):
        return int(stated.partition(",")[0])
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cache_folder() -> Path:
    """Where converted networks are kept: below `RANKSTONE_CACHE`, else the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rankstone"
    return Path(os.environ.get("RANKSTONE_CACHE") or default).expanduser() / "networks"


def _converted(backbone: Backbone) -> Path:
    """The folder of the converted copy, made if there is no whole one."""
    code = [Path(__file__).with_name(f"{name}.py") for name in ("backbone", "engines", "networks")]
    material = {
        "format": FORMAT,
        "openvino": version("openvino"),
        "transformers": version("transformers"),
        "torch": version("torch"),
        "code": [hashlib.sha256(path.read_bytes()).hexdigest() for path in code],
        "files": backbone.model.files,
        "backbone": backbone.describe(),
    }
    folder = cache_folder() / canonical_digest(material)[:32]
    try:
        if not _whole(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with _alone(folder.parent):
                if not _whole(folder):  # another process may have made it meanwhile
                    _convert(backbone, folder)
    except OSError as error:
        raise _NotConvertibleError(
            f"its copy cannot be kept in {folder.parent}: {error.strerror or error}."
            " Name another folder: --cache, RANKSTONE_CACHE"
        ) from error
    return folder


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process converts into `folder`; not where locks cannot be had."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            file = stack.enter_context((folder / ".lock").open("ab"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _whole(folder: Path) -> bool:
    """Whether every file of a converted copy is there as it was written."""
    try:
        files = read_json(folder / "about.json").get("files", {})
    except ModelError:
        return False
    return bool(files) and all(
        (folder / name).is_file() and _sha256(folder / name) == digest
        for name, digest in files.items()
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _convert(backbone: Backbone, folder: Path) -> None:
    """Write the copy beside its place, and move it there when it is whole."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as making:
        made = Path(making) / "made"
        made.mkdir()
        _write_copy(backbone, made)
        if folder.exists():  # damaged
            shutil.rmtree(folder, ignore_errors=True)
        try:
            made.rename(folder)
        except OSError:  # where there are no locks, another process may have been as quick
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
            raise _NotConvertibleError(_reason(error)) from error
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    save_file({name: np.ascontiguousarray(w) for name, w in module.head.items()},
              folder / "head.safetensors")  # fmt: skip
    tokenizer, pad = backbone.tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    files = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
    about = {"model": backbone.model.id, "pad": pad, "costs": costs(module), "files": files}
    (folder / "about.json").write_text(json.dumps(about, indent=1))


def _reason(error: Exception) -> str:
    """The first line that says what is wrong; OpenVINO's begin with where in its code it was."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = (line for line in lines if not line.startswith("Exception from"))
    return next(telling, type(error).__name__).rstrip(".:")


def _compare(model: Any, module: Any) -> None:
    """Raise unless the copy computes what torch does, at another shape than it was traced with."""
    import openvino
    import torch

    ids = torch.arange(1, 40).reshape(3, 13)
    mask = (torch.arange(13) < torch.tensor([[13], [7], [1]])).long()
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled([ids.numpy(), mask.numpy()])[0]
    expected = module(ids, mask).numpy()
    seen = mask.numpy()[..., None] * (found - expected)
    if not np.abs(seen).max() <= 1e-3 * np.abs(expected).max():
        raise ValueError(f"its results differ from torch's by {np.abs(seen).max():.2g}")
