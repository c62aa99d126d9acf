"""The compute device: selection, free memory, and synchronisation.

`--device` and `RANKSTONE_DEVICE` state it; by default it is a CUDA device if torch finds one, else
Apple's MPS, else the CPU. The parameter `device` of a method takes precedence.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rankstone.errors import DefinitionError, installed
from rankstone.profiling.memory import RESIDENT_SHARE, available, loaded_cuda

VARIABLE = "RANKSTONE_DEVICE"
AUTO = "auto"
FORM = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
TRACES = (
    "/dev/nvidiactl",
    "/dev/dxg",  # WSL
    "/dev/kfd",
    "/System/Library/Frameworks/Metal.framework",
)
"""Files of which at least one exists if there is a GPU, except on Windows."""
OUT_OF_MEMORY = ("out of memory", "can't allocate memory")
SEARCH_BYTES = 2**23
"""Size of vectors in bytes below which the CPU searches them: it reads them faster than a GPU
receives a query and returns its results, which takes about half a millisecond."""


def resolve(stated: str | None = None) -> str:
    """Return the name of the torch device: `stated`, else that of the variable, else the best one.

    Imports torch only if there are signs of a GPU. Raises DefinitionError if the variable does not
    name a device.
    """
    if stated not in (None, AUTO):
        return str(stated)
    name = parsed(os.environ.get(VARIABLE) or AUTO, VARIABLE)
    return _best() if name == AUTO else name


def parsed(name: str, where: str) -> str:
    """Return `name` if it has the form of a device; else raise a DefinitionError that names
    `where`.

    Examples: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    """
    if FORM.fullmatch(name):
        return name
    raise DefinitionError(
        f"{where}: '{name}' is not a device. Expected auto, cpu, cuda, cuda:N or mps."
    )


def check(name: str) -> None:
    """Raise DefinitionError unless torch finds the device `name`."""
    if name == "cpu":
        return
    seen = _seen()
    if name not in seen:
        raise DefinitionError(
            f"device '{name}': torch finds {', '.join(('cpu', *seen))} here. Use --device"
            f" {seen[0] if seen else 'cpu'}, or install torch for your GPU"
            " (https://pytorch.org/get-started/locally/)."
        )


def kind(name: str) -> str:
    """Return `name` without its number: devices of the same kind are equivalent."""
    return name.partition(":")[0]


def opened(name: str) -> Any:
    """Return the torch.device `name`, made current, with TF32 disabled for float32 products."""
    import torch

    made = torch.device(name)
    if made.type == "cuda":
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        if made.index is not None:
            torch.cuda.set_device(made)
    return made


def free_bytes(name: str) -> int:
    """Return the free bytes on the device, including those that torch has cached."""
    if kind(name) == "cuda":
        cuda = _torch().cuda
        held = cuda.memory_reserved(name) - cuda.memory_allocated(name)
        return int(cuda.mem_get_info(name)[0]) + int(held)
    return available()  # MPS uses the memory of the CPU


def for_search(name: str, size: int) -> str:
    """Return the device that stores `size` bytes of vectors for exact search.

    This is `name`, a CUDA device, if the vectors take at most half of its free memory and are large
    enough for a GPU to be faster; else the CPU.
    """
    if kind(name) != "cuda" or size < SEARCH_BYTES:
        return "cpu"
    return name if size <= search_limit(name) else "cpu"


def search_limit(name: str) -> int:
    """Return the maximum number of bytes of vectors that a GPU should store."""
    return int(free_bytes(name) * RESIDENT_SHARE)


def ran_out(error: RuntimeError) -> bool:
    """Return True for a torch error that reports insufficient memory, on any device."""
    own = isinstance(error, _torch().OutOfMemoryError)
    return own or any(words in str(error) for words in OUT_OF_MEMORY)


@contextlib.contextmanager
def memory_errors(advice: str) -> Iterator[None]:
    """Convert insufficient memory on the device into a MemoryError that ends with `advice`."""
    try:
        yield
    except RuntimeError as error:
        if not ran_out(error):
            raise
        _torch().cuda.empty_cache()
        raise MemoryError(f"the device has no memory for this: {error} {advice}") from error


def in_steps(n: int, step: int, action: Callable[[int, int], None]) -> None:
    """Call `action(start, stop)` for consecutive parts of `n`, each of size `step`.

    If the device runs out of memory, the part is repeated in halves, and the rest is halved too.
    """
    start = 0
    while start < n:
        stop = min(start + step, n)
        try:
            action(start, stop)
        except RuntimeError as error:
            if step == 1 or not ran_out(error):
                raise
            _torch().cuda.empty_cache()
            step = (stop - start + 1) // 2 if stop - start > 1 else 1
        else:
            start = stop


def synchronise() -> None:
    """Wait for the work submitted to the GPU, if torch is loaded and has used one."""
    cuda = loaded_cuda()
    if cuda is not None and cuda.is_initialized():
        cuda.synchronize()


def _best() -> str:
    return next((name for name in _seen() if ":" not in name), "cpu")


def _seen() -> tuple[str, ...]:
    """Return the GPUs that torch can use, best first."""
    traced = os.name == "nt" or any(Path(trace).exists() for trace in TRACES)
    if not traced or not installed("torch"):
        return ()
    torch = _torch()
    if torch.cuda.is_available():
        return ("cuda", *(f"cuda:{n}" for n in range(torch.cuda.device_count())))
    return ("mps",) if torch.backends.mps.is_available() else ()


def _torch() -> Any:
    import torch

    return torch
