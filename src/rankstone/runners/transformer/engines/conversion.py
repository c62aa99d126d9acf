"""Copies of networks in OpenVINO's own format, made once and kept in the cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from rankstone.errors import ModelError
from rankstone.runners.transformer.backbone import Backbone, Vocabulary, Weights, quiet, read_json
from rankstone.specs import canonical_digest

FORMAT = 1
"""Changes whenever a converted copy made by older code must not be used."""


class NotConvertibleError(Exception):
    """OpenVINO does not know an operation of the network."""


def cache_folder() -> Path:
    """Where converted networks are kept: below `RANKSTONE_CACHE`, else the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rankstone"
    return Path(os.environ.get("RANKSTONE_CACHE") or default).expanduser() / "networks"


def converted(backbone: Backbone) -> Path:
    """The folder of the converted copy, made if there is no whole one.

    Raises NotConvertibleError where OpenVINO cannot run the network, or its copy cannot be kept.
    """
    folder = place(backbone)
    try:
        if not _whole(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with _alone(folder.parent):
                if not _whole(folder):  # another process may have made it meanwhile
                    _convert(backbone, folder)
    except OSError as error:
        raise NotConvertibleError(
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


def place(backbone: Backbone) -> Path:
    """Where the converted copy is, or would be."""
    home = Path(__file__).parents[1]
    names = ("backbone", "engines/conversion", "mlm_head", "networks")
    code = [home / f"{name}.py" for name in names]
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

    from rankstone.runners.transformer.networks import costs

    module = backbone.load()
    ids = torch.arange(1, 17).reshape(2, 8)
    mask = (torch.arange(8) < torch.tensor([[8], [5]])).long()
    with quiet(), torch.inference_mode():
        try:
            model = openvino.convert_model(module, example_input=(ids, mask))
            _compare(model, module)
        except Exception as error:
            raise NotConvertibleError(_reason(error)) from error
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

    from rankstone.runners.transformer.mlm_head import Decoder

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
            raise NotConvertibleError(_reason(error)) from error
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


def _reason(error: Exception) -> str:
    """The first line that says what is wrong; OpenVINO's begin with where in its code it was."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = (line for line in lines if not line.startswith("Exception from"))
    return next(telling, type(error).__name__).rstrip(".:")
