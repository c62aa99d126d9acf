"""What an encoding's folder says of itself, for people: never part of its key."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rankstone.files import appearing

FILE = "about.json"


def note_use(folder: Path, facts: Mapping[str, Any], use: Mapping[str, str]) -> None:
    """Record that `use` (method, task) reads or fills the folder, which holds what `facts` say.

    The file's time is that of the last use. Whatever keeps it from being written is no fault of the
    encodings, and is passed over.
    """
    path = folder / FILE
    known = read(folder)
    uses = known.get("uses", [])
    with contextlib.suppress(OSError):
        if known and (not use or dict(use) in uses):
            os.utime(path)
            return
        body = {**facts, "uses": [*uses, *([dict(use)] if use else [])]}
        with appearing(path) as out:
            out.write(json.dumps(body, indent=2, ensure_ascii=False).encode() + b"\n")


def read(folder: Path) -> dict[str, Any]:
    """The facts and uses; empty where there are none, or they cannot be read."""
    try:
        body = json.loads((folder / FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}
