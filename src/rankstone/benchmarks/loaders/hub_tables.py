"""Tables of a hub data set in MTEB's layout: configurations, splits and files.

The card (`README.md`) names configurations with their splits and files: `corpus`, `queries`, and
the judgements as `default` or `qrels`; with languages `de-corpus`, `de-queries`, `de-qrels`. If the
card names none, the repository has BEIR's files. Corpus and queries have the split of the
judgements if they have a split of that name, else their only split, as in MTEB's loader.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

from rankstone.errors import DataError, did_you_mean
from rankstone.hub import Repository
from rankstone.text_files import plain_name

Role = Literal["corpus", "queries", "qrels"]
Splits = Mapping[str, tuple[str, ...]]
"""File patterns by split."""
CARD = "README.md"
KNOWN_FILES = (CARD, ".gitattributes")
"""Small files that every repository has."""
CONFIGURATIONS: Mapping[Role, tuple[str, ...]] = {
    "corpus": ("corpus",),
    "queries": ("queries",),
    "qrels": ("default", "qrels"),
}
ONLY_SPLIT = "train"
"""Split of files for which the card states no split, as in the library `datasets`."""
_SHARD = re.compile(r"(.*-)\d{5}-of-(\d{5})\b.*")


class Table(NamedTuple):
    """One split of one configuration."""

    configuration: str
    split: str
    patterns: tuple[str, ...]


@dataclass(frozen=True)
class HubDataSet:
    """The data set that a user named; the hub is contacted on first access."""

    repository: Repository

    @classmethod
    def named(cls, name: str, identifier: str, revision: str | None) -> HubDataSet:
        """Return the data set `OWNER/NAME`; `name` is used in messages."""
        return cls(
            Repository(name=name, id=identifier, revision=revision, kind="dataset", error=DataError)
        )

    @cached_property
    def folder(self) -> Path:
        """The hub client's folder with the files of one commit, including the card.

        Files in the hub's cache are used without contacting the hub.
        """
        self.repository.require_client()
        from huggingface_hub import try_to_load_from_cache

        asked = self.repository
        for file in KNOWN_FILES:
            found = try_to_load_from_cache(
                asked.id, file, revision=asked.revision, repo_type="dataset"
            )
            if isinstance(found, str):
                return Path(found).parent
        asked.info()
        return self._snapshot(asked.revision, KNOWN_FILES)

    @property
    def commit(self) -> str:
        return self.folder.name

    @cached_property
    def configurations(self) -> Mapping[str, Splits]:
        """The tables by configuration and split."""
        from huggingface_hub.repocard import metadata_load

        card = self.folder / CARD
        try:
            stated = (metadata_load(card) or {} if card.is_file() else {}).get("configs") or ()
            found = {entry["config_name"]: _splits(entry) for entry in stated}
        except Exception as error:  # from the YAML library, or because of unexpected types
            raise self._fault(f"its card does not name tables ({error!s:.200}).") from error
        return found or self._beir_files()

    @property
    def languages(self) -> list[str]:
        """Prefixes of the configurations with a corpus."""
        return [n.removesuffix("-corpus") for n in self.configurations if n.endswith("-corpus")]

    def table(
        self, role: Role, *, language: str | None, split: str, stated: str | None = None
    ) -> Table:
        """Return the table with a role for the judgements `split`.

        Args:
            stated: `CONFIGURATION` or `CONFIGURATION/SPLIT`, instead of the names used by MTEB.
        """
        name, _, own = (stated or self._configuration(role, language)).partition("/")
        splits = self.configurations.get(name)
        if splits is None:
            known = self.configurations
            raise self._fault(f"it has no configuration '{name}'.{_listed(name, known)}")
        wanted = own or split
        if wanted not in splits and not own and role != "qrels" and len(splits) == 1:
            [wanted] = splits
        if wanted not in splits:
            raise self._fault(f"'{name}' has no split '{wanted}'.{_listed(wanted, splits)}")
        return Table(name, wanted, splits[wanted])

    def judged_splits(self, language: str | None, stated: str | None = None) -> list[str]:
        """Return the splits with judgements."""
        name, _, own = (stated or self._configuration("qrels", language)).partition("/")
        return [own] if own else list(self.configurations.get(name, ()))

    def files(self, table: Table) -> list[Path]:
        """Return the files of a table; those that are not in the hub's cache are downloaded."""
        folder = self._snapshot(self.commit, table.patterns)
        found = {path for pattern in table.patterns for path in folder.glob(pattern)}
        files = sorted(path for path in found if path.is_file())
        where = f"{table.configuration}/{table.split}"
        if not files:
            raise self._fault(f"{where}: no file matches {', '.join(table.patterns)}.")
        for (start, total), n in Counter(filter(None, map(_shard, files))).items():
            if n != int(total):
                raise self._fault(f"{where}: only {n} of {int(total)} files {start}* exist.")
        return files

    def _configuration(self, role: Role, language: str | None) -> str:
        prefix = f"{language}-" if language else ""
        names = [f"{prefix}{name}" for name in CONFIGURATIONS[role]]
        found = next((name for name in names if name in self.configurations), None)
        if found is not None:
            return found
        if language is None and self.languages:
            form = f"hf:{self.repository.id}#lang={self.languages[0]}"
            listed = ", ".join(self.languages)
            raise self._fault(f"it has several languages: {listed}. Name one: {form}.")
        if language is not None and self.languages:
            known = self.languages
            raise self._fault(f"it has no language '{language}'.{_listed(language, known)}")
        has = ", ".join(self.configurations) or "none"
        raise self._fault(
            f"not in MTEB's layout: no configuration '{names[0]}'; it has: {has}. Name another data"
            " set, or the tables in a definition (docs/your-data.md)."
        )

    def _beir_files(self) -> Mapping[str, Splits]:
        """The tables of BEIR's files, if the card names none."""
        folder = self._snapshot(self.commit, ["qrels/*"])
        judged = sorted({plain_name(path.name) for path in folder.glob("qrels/*")})
        splits = {name.partition(".")[0]: (f"qrels/{name}*",) for name in judged}
        if not splits:
            return {}
        own = {
            stem: {ONLY_SPLIT: (f"{stem}.jsonl*", f"{stem}.parquet")}
            for stem in ("corpus", "queries")
        }
        return {**own, "qrels": splits}

    def _snapshot(self, revision: str | None, patterns: Sequence[str]) -> Path:
        from huggingface_hub import snapshot_download

        with self.repository.explained():
            found = snapshot_download(
                self.repository.id,
                repo_type="dataset",
                revision=revision,
                allow_patterns=list(patterns),
            )
        return Path(found)

    def _fault(self, what: str) -> DataError:
        return DataError(f"'{self.repository.name}': {what}")


def _splits(entry: Mapping[str, Any]) -> Splits:
    """Return the file patterns of a card's configuration, in any form that `datasets` reads."""
    files, root = entry.get("data_files", "*"), PurePosixPath(entry.get("data_dir", ""))
    if isinstance(files, list) and all(isinstance(one, Mapping) for one in files):
        stated = [(one.get("split", ONLY_SPLIT), one["path"]) for one in files]
    else:
        stated = [(ONLY_SPLIT, files)]
    return {str(split): tuple(_inside(root, path) for path in _several(p)) for split, p in stated}


def _several(path: Any) -> list[str]:
    return [path] if isinstance(path, str) else list(path)


def _inside(root: PurePosixPath, path: str) -> str:
    full = root / path
    if "://" in path or full.is_absolute() or ".." in full.parts:
        raise ValueError(f"'{path}' is not a file of the repository")
    return full.as_posix()


def _shard(path: Path) -> tuple[str, str] | None:
    """Return the common prefix of the names of shards, and the number of shards."""
    found = _SHARD.fullmatch(path.name)
    return None if found is None else (found[1], found[2])


def _listed(name: str, known: Collection[str]) -> str:
    return did_you_mean(name, known) or f" It has: {', '.join(known) or 'none'}."
