"""Exports of networks to OpenVINO's format, made once and kept in the cache folder.

An export contains the graph of the whole pipeline, its tokenizer, and the checkpoint's `Facts`, so
that torch and sentence-transformers need not be imported, which takes longer than encoding many
queries. A graph is kept only if its vectors are those of the library.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rankstone.errors import ModelError
from rankstone.files import build_once, cache_root, sha256_of
from rankstone.profiling.openvino_runtime import import_openvino
from rankstone.runners.transformer.checkpoint_files import read_json
from rankstone.runners.transformer.network import Facts, Loaded, Network, quiet
from rankstone.specs import canonical_digest

FORMAT = 2
"""Version of the format: increased to invalidate exports by older code."""
CODE = (
    "flops", "loading", "lora", "network", "pairs", "token_vectors", "tokens", "vectors",
    "vocabulary", "engines/attention", "engines/export", "engines/verification",
)  # fmt: skip
"""Source files that determine an export, in addition to that of the network's head."""
LIBRARIES = ("openvino", "sentence-transformers", "tokenizers", "torch", "transformers")


def location(network: Network, *, graph: bool) -> Path:
    """Return the folder of the export, which may not exist; without a graph it has only facts."""
    home = Path(__file__).parents[1]
    code = [home / f"{name}.py" for name in CODE]
    code.append(Path(inspect.getfile(type(network.head))))
    material = {
        "format": FORMAT,
        "graph": graph,
        "libraries": {name: version(name) for name in LIBRARIES[0 if graph else 1 :]},
        "code": [sha256_of(path) for path in code],
        "files": network.model.files,
        "network": network.describe(),
    }
    return cache_root() / "networks" / canonical_digest(material)[:32]


def kept(network: Network) -> Path | None:
    """Return the folder of a complete export without a graph, if there is one."""
    folder = location(network, graph=False)
    return folder if _whole(folder) else None


def facts(folder: Path) -> Facts:
    return Facts.of(read_json(folder / "about.json")["facts"])


def exported(network: Network) -> tuple[Path, Loaded | None]:
    """Return the folder of a complete export, and the network in torch if it had to be loaded.

    Raises OSError if the export cannot be written.
    """
    loaded: list[Loaded] = []

    def fill(folder: Path) -> None:
        loaded.append(network.load())
        _write_copy(network, loaded[0], folder, graph=True)

    folder = build_once(location(network, graph=True), _whole, fill)
    return folder, loaded[0] if loaded else None


def keep(network: Network, loaded: Loaded) -> None:
    """Write the facts of a loaded network to the cache; raises OSError if that is not possible."""
    folder = location(network, graph=False)
    build_once(folder, _whole, lambda fresh: _write_copy(network, loaded, fresh, graph=False))


def _whole(folder: Path) -> bool:
    """Return True if all files of an export are complete and unchanged."""
    try:
        about = read_json(folder / "about.json")
    except ModelError:
        return False
    digest, files = about.pop("digest", None), about.get("files", {})
    return digest == canonical_digest(about) and all(
        (folder / name).is_file() and sha256_of(folder / name) == digest
        for name, digest in files.items()
    )


def _write_copy(network: Network, loaded: Loaded, folder: Path, *, graph: bool) -> None:
    backend = getattr(loaded.tokenizer, "backend_tokenizer", None)
    (folder / "tokenizer.json").write_text("{}" if backend is None else backend.to_str())
    reason = _graph(network, loaded, folder) if graph else None
    files = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
    body = asdict(replace(loaded.facts, reason=reason))
    about = {"model": network.model.id, "facts": body, "files": files}
    about["digest"] = canonical_digest(about)
    (folder / "about.json").write_text(json.dumps(about, indent=1))


def _graph(network: Network, loaded: Loaded, folder: Path) -> str | None:
    """Write the graphs of network and decoder; return the reason if they cannot be used."""
    from rankstone.runners.transformer.engines.verification import difference

    openvino = import_openvino()

    if loaded.facts.library_tokens:
        return "its tokens are made by transformers alone"
    with quiet():
        try:
            models = _traced(loaded)
            for name, model in models.items():
                openvino.save_model(model, folder / f"{name}.xml", compress_to_fp16=False)
            reason = difference(network, loaded, models)
        except Exception as error:
            reason = _reason(error)
    if reason is not None:
        for path in (*folder.glob("*.xml"), *folder.glob("*.bin")):
            path.unlink()
    return reason


def _traced(loaded: Loaded) -> dict[str, Any]:
    import torch

    from rankstone.runners.transformer.engines.attention import zeros_where_blind
    from rankstone.runners.transformer.loading import first

    openvino = import_openvino()
    ids = torch.arange(1, 17).reshape(2, 8) % (loaded.facts.embeddings or 17)
    mask = (torch.arange(8) < torch.tensor([[8], [5]])).long()
    inputs = (ids, mask) if loaded.facts.include_prompt else (ids, mask, mask)
    with torch.inference_mode(), zeros_where_blind(first(loaded.model).auto_model):
        models = {"model": openvino.convert_model(loaded.network, example_input=inputs)}
        if loaded.decoder is not None:
            dim = loaded.network(*inputs).shape[-1]
            states = torch.linspace(-1, 1, 3 * dim).reshape(3, dim)
            models["decoder"] = openvino.convert_model(
                loaded.decoder, example_input=(states,), input=[openvino.PartialShape([-1, dim])]
            )
    return models


def _reason(error: Exception) -> str:
    """Return the first line with the fault; OpenVINO's messages begin with source positions."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = (line for line in lines if not line.startswith("Exception from"))
    return next(telling, type(error).__name__).rstrip(".:")
