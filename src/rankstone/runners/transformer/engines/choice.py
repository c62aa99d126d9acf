"""Who computes a transformer's hidden states: torch, or OpenVINO on a CPU.

OpenVINO runs a copy of the network in its own format, made once from the torch module and kept in
the cache folder. With it neither torch nor transformers is imported again, which would take longer
than encoding many queries.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import DefinitionError, MissingExtraError, ModelError, RankstoneWarning
from rankstone.runners.transformer.backbone import Backbone, Costs, Weights, read_json
from rankstone.runners.transformer.engines.conversion import NotConvertibleError, converted, place
from rankstone.runners.transformer.engines.int8 import SETTINGS, quantised

Name = Literal["torch", "openvino"]
Precision = Literal["fp32", "bf16", "int8"]
OPENVINO_HINT = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}


WORTH_LANES = 8
"""Fewer batches than this are done before a copy of the network for lanes would be compiled."""


class OutOfMemoryError(Exception):
    """The device has no memory for a batch of this size."""


Hidden = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
"""(ids, mask), both (n, length) int64 -> (n, length, dim) float32; raises OutOfMemoryError."""
Pooled = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""(length, dim) float32 states of one text, without padding -> (vocabulary,) float32."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A loaded network.

    Attributes:
        hidden: computes one batch with all cores.
        lane: computes one batch with its share of the cores; as many threads as there are `lanes`
            may call it at once. Several batches are done sooner by lanes than one after another,
            for cores then need not wait for each other within a layer.
        pooled: what `Backbone.vocabulary` says of one text, with all cores; None: it says nothing.
        pooled_lane: the same with a lane's share of the cores.
    """

    name: Name
    hidden: Hidden
    tokenizer: Any
    pad: int
    head: Weights
    costs: Costs
    lane: Hidden | None = None
    pooled: Pooled | None = None
    pooled_lane: Pooled | None = None
    lanes: int = 1

    def through(
        self, batches: Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]
    ) -> Iterator[NDArray[np.float32]]:
        """The hidden states of each batch, in order; a batch is asked for when there is room."""
        return self._each(self.hidden, self.lane, batches)

    def over_vocabulary(
        self, states: Iterable[NDArray[np.float32]]
    ) -> Iterator[NDArray[np.float32]]:
        """The vocabulary's values of each text, in order, of its states without padding."""
        assert self.pooled is not None
        return self._each(self.pooled, self.pooled_lane, ((one,) for one in states))

    def _each(
        self,
        alone: Callable[..., NDArray[np.float32]],
        lane: Callable[..., NDArray[np.float32]] | None,
        inputs: Iterator[tuple[NDArray[Any], ...]],
    ) -> Iterator[NDArray[np.float32]]:
        several = lane is not None and self.lanes > 1
        ready = list(islice(inputs, WORTH_LANES)) if several else []
        if lane is None or len(ready) < WORTH_LANES:
            for given in chain(ready, inputs):
                yield alone(*given)
            return
        with ThreadPoolExecutor(self.lanes) as pool:
            waiting: deque[Future[NDArray[np.float32]]] = deque()
            for given in chain(ready, inputs):
                waiting.append(pool.submit(lane, *given))
                if len(waiting) > self.lanes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()


def resolve(engine: Name | None, precision: Precision, device: str | None) -> Name:
    """The engine to use: as asked, else OpenVINO where a CPU does the work and it is installed."""
    if precision == "int8" and engine == "torch":
        raise DefinitionError(
            "key 'parameters.engine': only openvino computes in int8. Remove the key, or set"
            ' precision = "fp32".'
        )
    wanted, on_cpu = engine == "openvino" or precision == "int8", device in (None, "cpu")
    installed = importlib.util.find_spec("openvino") is not None
    if wanted and not installed:
        raise MissingExtraError("The engine 'openvino'", "dense")
    if wanted and not on_cpu:
        raise DefinitionError(
            f"key 'parameters.device': openvino, which computes in {precision} here, does so on the"
            f" CPU, not on '{device}'. Remove the key, or set another engine or precision."
        )
    if engine is not None:
        return engine
    able = installed and on_cpu and (wanted or not _has_accelerator())
    return "openvino" if able else "torch"


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
    told = resolved == "torch" or engine is not None or place(backbone).is_dir()
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
    except NotConvertibleError as error:
        if engine == "openvino" or precision == "int8":
            instead = 'precision = "fp32"' if precision == "int8" else 'engine = "torch"'
            raise ModelError(
                f"Model '{backbone.model.id}': OpenVINO cannot run it: {error}."
                f" Set parameters.{instead}."
            ) from error
        warnings.warn(
            f"Model '{backbone.model.id}': OpenVINO cannot run it ({error}); torch does.",
            RankstoneWarning,
            stacklevel=2,
        )
        return _torch(backbone, precision, "cpu")


def _torch(backbone: Backbone, precision: Precision, device: str) -> Engine:
    import torch

    from rankstone.runners.transformer.networks import costs

    module = backbone.load()
    counted, head = costs(module), module.head
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
        name="torch",
        hidden=hidden,
        tokenizer=tokenizer,
        pad=pad,
        head=head,
        costs=counted,
        pooled=_torch_pooled(backbone, head, precision, device),
    )


def _says_memory(error: RuntimeError) -> bool:
    """Not every device of torch has an error of its own for that."""
    return any(words in str(error) for words in ("out of memory", "can't allocate memory"))


def _torch_pooled(
    backbone: Backbone, head: Weights, precision: Precision, device: str
) -> Pooled | None:
    import torch

    from rankstone.runners.transformer.mlm_head import PIECE, Decoder

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


def _openvino(backbone: Backbone, precision: Precision) -> Engine:
    import openvino
    from tokenizers import Tokenizer

    folder, cores = converted(backbone), _cores()
    about = read_json(folder / "about.json")

    def requests(name: str, streams: int) -> SimpleQueue[Any]:
        """One request per stream, each of which has its share of the cores."""
        settings = {
            "INFERENCE_PRECISION_HINT": OPENVINO_HINT[precision],
            "INFERENCE_NUM_THREADS": cores,
            "NUM_STREAMS": streams,
        }
        network: Any = folder / f"{name}.xml"
        if precision == "int8" and name == "model":
            network, settings = quantised(openvino.Core().read_model(network)), settings | SETTINGS
        compiled = openvino.Core().compile_model(network, "CPU", settings)
        free: SimpleQueue[Any] = SimpleQueue()
        for _ in range(streams):
            free.put(compiled.create_infer_request())
        return free

    decodes = backbone.vocabulary is not None
    return Engine(
        name="openvino",
        hidden=_Streams(lambda: requests("model", 1)),
        lane=_Streams(lambda: requests("model", cores)),
        pooled=_Streams(lambda: requests("decoder", 1)) if decodes else None,
        pooled_lane=_Streams(lambda: requests("decoder", cores)) if decodes else None,
        lanes=cores,
        tokenizer=Tokenizer.from_file(str(folder / "tokenizer.json")),
        pad=about["pad"],
        head=_Head(folder / "head.safetensors"),
        costs=Costs(*about["costs"]),
    )


class _Head(Mapping[str, NDArray[np.float32]]):
    """Weights in a file, read when first asked for: a vocabulary is large, and seldom wanted."""

    def __init__(self, path: Path) -> None:
        from safetensors import safe_open

        self._file: Any = safe_open(path, "numpy")
        self._names: list[str] = list(self._file.keys())  # type: ignore[no-untyped-call]
        self._read: dict[str, NDArray[np.float32]] = {}

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._read:
            self._read[name] = self._file.get_tensor(name)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class _Streams:
    """Runs a compiled network, which is compiled at the first call; callers wait for a request."""

    def __init__(self, make: Callable[[], SimpleQueue[Any]]) -> None:
        self._make, self._lock = make, Lock()
        self._free: SimpleQueue[Any] | None = None

    def __call__(self, *inputs: NDArray[Any]) -> NDArray[np.float32]:
        with self._lock:
            if self._free is None:
                self._free = self._make()
        request = self._free.get()
        try:
            # The result is copied: the request would overwrite it with the next one.
            found: NDArray[np.float32] = request.infer(list(inputs), share_inputs=True)[0]
            return found
        finally:
            self._free.put(request)


def _cores() -> int:
    """Threads to use: as the harness says, else all cores of this process."""
    stated = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if stated.isdecimal() and int(stated):
        return int(stated)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
