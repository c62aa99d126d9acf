"""Tasks named on the command line without a definition.

    ./my-collection                               a folder in BEIR layout (or its .tar.zst)
    files:my-collection#dev                       the same, another split than `test`
    files:docs=PATH,topics=PATH,qrels=PATH        a collection in TREC's forms
    irds:beir/scifact/test                        any id of ir_datasets

Paths are resolved where the name is read. A task made of paths is called after the last parts of
them and eight digits of a digest of all of them, `files/my-collection-1f0c9a3e`: a safe name for a
folder, equal for equal paths, different for other paths with the same last part.
"""

from __future__ import annotations

import re
from pathlib import Path

from rankstone.errors import DefinitionError, did_you_mean
from rankstone.specs import TaskSpec, canonical_digest

FILES, IRDS = "files:", "irds:"
FORMS = (
    "a folder in BEIR layout (./DIR or files:DIR#SPLIT), "
    "files:docs=PATH,topics=PATH,qrels=PATH, or irds:ID"
)
NEEDED, OPTIONAL = ("docs", "topics", "qrels"), ("query",)
PACKED = ".tar.zst"
LONGEST_LABEL = 48
FILE_TASKS = "qrels/"
"""First part of the names of tasks that are one file of judgements, without a definition."""
_ID = re.compile(r"[A-Za-z0-9_][\w.+-]*(?:/[A-Za-z0-9_][\w.+-]*)*", re.ASCII)


def task_of(name: str) -> TaskSpec | None:
    """Return the task that `name` describes in a form above; None if it is in none of them.

    Raises:
        DefinitionError: the form is clear and something in it is wrong.
        DataError: the folder is not in BEIR layout.
    """
    if name.startswith(IRDS):
        return _from_irds(name.removeprefix(IRDS), name)
    if name.startswith(FILES):
        rest = name.removeprefix(FILES)
        return _from_trio(rest, name) if re.match(r"\w+=", rest) else _from_folder(rest, name)
    return _from_folder(name, name) if _is_path(name) else None


def file_task(path: Path, *, relevance: int = 1) -> TaskSpec:
    """A task that is one file of judgements, in TREC or BEIR form."""
    name = f"{FILE_TASKS}{path.name.partition('.')[0]}"
    return TaskSpec(
        name=name,
        description=f"The judgements of {path.name}.",
        loader="qrels",
        source={"file": str(path.expanduser().resolve())},
        dataset=name,
        relevance=relevance,
    )


def recorded_task(name: str, source: str, split: str, *, relevance: int = 1) -> TaskSpec | None:
    """Return the task of a record; None if its name was not made here.

    Raises: as `task_of` does, where the path has changed.
    """
    whole, *cuts = name.split("@")
    if whole.startswith(FILE_TASKS):
        return file_task(Path(source), relevance=relevance)
    if whole.startswith("irds/"):
        form = f"{IRDS}{whole.removeprefix('irds/')}"
    elif whole.startswith("files/"):
        form = source if source.startswith(FILES) else f"{FILES}{source}#{split}"
    else:
        return None
    task = task_of(form)
    return None if task is None else task.cut(cuts)


def _is_path(name: str) -> bool:
    """Return True if `name` is written as a path (`./x`, `/x`, `~/x`), or exists."""
    if name.startswith((".", "/", "~")):
        return True
    return _exists(name) or ("#" in name and _exists(name.rpartition("#")[0]))


def _exists(name: str) -> bool:
    path = Path(name)
    return bool(name) and (path.is_dir() or (path.name.endswith(PACKED) and path.is_file()))


def _from_irds(identifier: str, name: str) -> TaskSpec:
    if not _ID.fullmatch(identifier):
        raise DefinitionError(
            f"'{name}': '{identifier}' is not an id of ir_datasets. Write it as in "
            "irds:beir/scifact/test. (https://ir-datasets.com lists them)"
        )
    return TaskSpec(
        name=f"irds/{identifier}",
        description=f"{identifier} of ir_datasets.",
        loader="irds",
        source={"id": identifier},
        dataset=f"irds/{identifier}",
    )


def _from_folder(text: str, name: str) -> TaskSpec:
    path, split = _path_and_split(text, name)
    splits = _splits(path)
    if split is None:
        split = splits[0] if len(splits) == 1 else "test"
    if splits and split not in splits:
        hint = did_you_mean(split, splits) or f" It has: {', '.join(splits)}."
        raise DefinitionError(
            f"'{name}': no judgements for the split '{split}' in {path}.{hint} "
            f"Write files:{text.partition('#')[0]}#SPLIT."
        )
    label = path.name.removesuffix(PACKED)
    dataset = _task_name(label, [str(path)])
    return TaskSpec(
        name=dataset if split == "test" else _task_name(f"{label}-{split}", [str(path), split]),
        description=f"The split '{split}' of {path}.",
        loader="plain",
        source={"path": str(path)},
        dataset=dataset,
        split=split,
        train_split="train" if "train" in splits and split != "train" else None,
    )


def _path_and_split(text: str, name: str) -> tuple[Path, str | None]:
    """Split `DIR#split`, unless a folder has that name."""
    before, hash_sign, after = text.rpartition("#")
    for path, split in ((text, None), (before, after)):
        full = Path(path).expanduser().resolve()
        if path and (full.is_dir() or (full.is_file() and full.name.endswith(PACKED))):
            return full, split or None
    full = Path(before if hash_sign else text).expanduser().resolve()
    fault = f"a file, expected a folder or a {PACKED}" if full.is_file() else "no such folder"
    raise DefinitionError(f"'{name}': {full}: {fault}. A task may be {FORMS}.")


def _splits(path: Path) -> list[str]:
    """Return the splits of a folder; none of an archive, which is not extracted yet."""
    if path.is_file():
        return []
    from rankstone.benchmarks.loaders.plain import splits_of

    return splits_of(path)


def _from_trio(text: str, name: str) -> TaskSpec:
    given = [part.partition("=") for part in re.split(r",(?=\w+=)", text)]
    keys = [key for key, _, _ in given]
    for key in keys:
        if key not in NEEDED + OPTIONAL:
            hint = did_you_mean(key, NEEDED + OPTIONAL)
            raise DefinitionError(f"'{name}': unknown key '{key}'.{hint} Write {FILES}{_usage()}.")
    empty = [key for key, _, value in given if not value]
    twice = [key for key in keys if keys.count(key) > 1]
    missing = [key for key in NEEDED if key not in keys]
    for faulty, what in ((missing, "missing"), (twice, "given twice"), (empty, "empty")):
        if faulty:
            raise DefinitionError(f"'{name}': '{faulty[0]}' is {what}. Write {FILES}{_usage()}.")
    values = {key: value for key, _, value in given}
    source = {key: str(Path(values[key]).expanduser().resolve()) for key in NEEDED}
    source |= {key: values[key] for key in OPTIONAL if key in values}
    label = f"{_stem(source['docs'])}-{_stem(source['topics'])}"
    full = _task_name(label, list(source.values()))
    return TaskSpec(
        name=full,
        description=f"{source['docs']} with the topics {source['topics']}.",
        loader="trec",
        source=source,
        dataset=full,
    )


def _usage() -> str:
    return ",".join(f"{key}=PATH" for key in NEEDED)


def _stem(path: str) -> str:
    """Return the last part of a path without its endings: `docs.xml.gz` -> `docs`."""
    return Path(path).name.lstrip(".").partition(".")[0]


def _task_name(label: str, parts: list[str]) -> str:
    safe = re.sub(r"[^\w.-]+", "-", label, flags=re.ASCII)[:LONGEST_LABEL].strip("-._")
    return f"files/{safe or 'collection'}-{canonical_digest(parts)[:8]}"
