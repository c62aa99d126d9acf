"""Choice of the engine of a network: torch, or OpenVINO on a CPU."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any

from numpy.typing import NDArray

from rankstone.errors import DefinitionError, ModelError, RankstoneWarning, installed, require
from rankstone.files import cache_root
from rankstone.profiling import device as devices
from rankstone.profiling.machine import usable_cores
from rankstone.profiling.openvino_runtime import import_openvino
from rankstone.runners.protocols import Json
from rankstone.runners.transformer.engines import export
from rankstone.runners.transformer.engines.engine import (
    Engine,
    Name,
    OutOfMemoryError,
    Precision,
    Run,
)
from rankstone.runners.transformer.engines.int8 import SETTINGS, NotQuantisableError, quantised
from rankstone.runners.transformer.network import Array, Facts, Loaded, Network
from rankstone.runners.transformer.tokens import copied

OPENVINO_HINT = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
LIBRARIES = ("sentence-transformers", "transformers", "tokenizers", "torch")


def resolve(engine: Name | None, precision: Precision, device: str | None) -> Name:
    """Return the engine: as stated, else OpenVINO on a CPU if it is installed, else torch."""
    if precision == "int8" and engine == "torch":
        raise DefinitionError(
            "key 'parameters.engine': only openvino computes in int8. Remove the key, or set"
            ' precision = "fp32".'
        )
    wanted, on_cpu = engine == "openvino" or precision == "int8", device in (None, "cpu")
    if wanted:
        require("The engine 'openvino'", "dense", "openvino")
    if wanted and not on_cpu:
        raise DefinitionError(
            f"key 'parameters.device': openvino, which computes in {precision} here, does so on the"
            f" CPU, not on '{device}'. Remove the key, or set another engine or precision."
        )
    if engine is not None:
        return engine
    able = installed("openvino") and on_cpu and (wanted or devices.resolve(device) == "cpu")
    return "openvino" if able else "torch"


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that load checkpoints."""
    return {name: version(name) for name in LIBRARIES}


class Engines:
    """The engine and the facts of one network, loaded on first use.

    Facts are read from an earlier run's cached export if there is one; then neither torch nor the
    model library is imported, unless torch is the engine.
    """

    def __init__(
        self, network: Network, *, engine: Name | None, precision: Precision, device: str | None
    ) -> None:
        self.network, self._engine = network, engine
        self._precision, self._device = precision, device
        self._wanted = resolve(engine, precision, device)
        self._loaded: Loaded | None = None
        self._folder: Path | None = None
        self._facts: Facts | None = None
        self.name: Name = self._wanted

    def describe(self) -> dict[str, Json]:
        """Describe the computation, for the record and the cache key."""
        _ = self.facts  # determines the engine
        return {
            "precision": self._precision,
            "device": devices.kind(self.device),
            "engine": f"{self.name} {version(self.name)}",
            "libraries": library_versions(),
        }

    @property
    def device(self) -> str:
        """Name of the device; always the CPU for OpenVINO."""
        on_cpu = self.name == "openvino" or (self._wanted == "openvino" and self._device is None)
        return "cpu" if on_cpu else devices.resolve(self._device)

    @property
    def facts(self) -> Facts:
        """Facts of the checkpoint; determines if OpenVINO can run it, if requested.

        Raises ModelError if the network cannot be loaded from the files, or OpenVINO was stated
        but cannot run it.
        """
        if self._facts is None:
            self._facts = self._exported() if self._wanted == "openvino" else self._plain()
        return self._facts

    @cached_property
    def engine(self) -> Engine:
        """The loaded network."""
        facts = self.facts
        if self.name == "torch":
            return _torch(self._in_torch(), self._precision, self.device)
        assert self._folder is not None
        self._loaded = None  # else its weights would be in memory twice
        try:
            return _openvino(self._folder, facts, self._precision)
        except NotQuantisableError as error:
            raise self._refusal(str(error)) from error

    def _in_torch(self) -> Loaded:
        if self._loaded is None:
            self._loaded = self.network.load()
        return self._loaded

    def _plain(self) -> Facts:
        """Return the facts only, cached for later runs if possible."""
        if self._loaded is None and (folder := export.kept(self.network)) is not None:
            return export.facts(folder)
        loaded = self._in_torch()
        with contextlib.suppress(OSError):
            export.keep(self.network, loaded)
        return loaded.facts

    def _exported(self) -> Facts:
        try:
            self._folder, self._loaded = export.exported(self.network)
        except OSError as error:
            return self._instead(
                f"its copy cannot be kept in {cache_root()}: {error.strerror or error}."
                " Name another folder: --cache, RANKSTONE_CACHE"
            )
        facts = export.facts(self._folder)
        return facts if facts.reason is None else self._instead(facts.reason)

    def _instead(self, reason: str) -> Facts:
        """Return the facts of the network in torch, after `reason` prevented OpenVINO."""
        if self._engine == "openvino" or self._precision == "int8":
            raise self._refusal(reason)
        warnings.warn(
            f"Model '{self.network.model.id}': OpenVINO cannot run it ({reason}); torch does.",
            RankstoneWarning,
            stacklevel=2,
        )
        self.name = "torch"
        return self._plain()

    def _refusal(self, reason: str) -> ModelError:
        instead = 'precision = "fp32"' if self._precision == "int8" else 'engine = "torch"'
        return ModelError(
            f"Model '{self.network.model.id}': OpenVINO cannot run it: {reason}."
            f" Set parameters.{instead}."
        )


def _torch(loaded: Loaded, precision: Precision, device: str) -> Engine:
    import torch

    number = torch.bfloat16 if precision == "bf16" else torch.float32
    on = devices.opened(device)

    def on_device(module: Any, rounded: Any) -> Run:
        module.to(on)
        rounded.to(number)

        def run(*inputs: NDArray[Any]) -> Array:
            try:
                with torch.inference_mode():
                    given = [torch.from_numpy(one).to(on) for one in inputs]
                    rows = module(*(t.to(number) if t.is_floating_point() else t for t in given))
                    result: Array = rows.float().cpu().numpy()
                    return result
            except RuntimeError as error:
                if not devices.ran_out(error):
                    raise
                torch.cuda.empty_cache()
                raise OutOfMemoryError(str(error)) from error

        return run

    made, library, decoder = loaded.tokenizer, loaded.facts.library_tokens, loaded.decoder
    return Engine(
        name="torch",
        run=on_device(loaded.network, loaded.network.backbone),
        decode=None if decoder is None else on_device(decoder, decoder),
        tokenizer=made if library else copied(made.backend_tokenizer),
        facts=loaded.facts,
    )


def _openvino(folder: Path, facts: Facts, precision: Precision) -> Engine:
    from tokenizers import Tokenizer

    openvino = import_openvino()
    cores = usable_cores()

    def requests(name: str, streams: int) -> SimpleQueue[Any]:
        """Return one inference request per stream, each with its share of the cores."""
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

    decodes = (folder / "decoder.xml").is_file()
    return Engine(
        name="openvino",
        run=_Streams(lambda: requests("model", 1)),
        lane=_Streams(lambda: requests("model", cores)),
        decode=_Streams(lambda: requests("decoder", 1)) if decodes else None,
        decode_lane=_Streams(lambda: requests("decoder", cores)) if decodes else None,
        lanes=cores,
        tokenizer=Tokenizer.from_file(str(folder / "tokenizer.json")),
        facts=facts,
    )


class _Streams:
    """Runs a network, compiled at the first call; callers wait for a free request."""

    def __init__(self, make: Callable[[], SimpleQueue[Any]]) -> None:
        self._make, self._lock = make, Lock()
        self._free: SimpleQueue[Any] | None = None

    def __call__(self, *inputs: NDArray[Any]) -> Array:
        with self._lock:
            if self._free is None:
                self._free = self._make()
        request = self._free.get()
        try:
            # The result is copied, because the next inference overwrites it.
            rows: Array = request.infer(list(inputs), share_inputs=True)[0]
            return rows
        finally:
            self._free.put(request)
