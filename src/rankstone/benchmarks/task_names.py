"""Tasks that are named without a definition.

    ./my-collection                               a folder in BEIR layout (or its .tar.zst)
    files:my-collection#dev                       the same, with another split than `test`
    files:docs=PATH,topics=PATH,qrels=PATH        a collection in TREC's formats
    irds:beir/scifact/test                        any ir_datasets id
    hf:OWNER/NAME@REVISION#split=dev,lang=de      a data set in MTEB's layout on the hub

The name of a task made from files consists of the last parts of their paths and eight digits of a
digest of their content, such as `files/my-collection-1f0c9a3e`: it is the same on every machine,
and differs for other content. The name of a hub task contains its commit, such as
`hf/owner/name+revision-1a2b3c4d`. `--as NAME` sets a user-defined name, `own/NAME`, which then
identifies only this content.
"""

from __future__ import annotations

import re
from pathlib import Path

from rankstone.benchmarks.content import content_digest
from rankstone.benchmarks.loaders.hub_tables import HubDataSet
from rankstone.errors import DataError, DefinitionError, did_you_mean
from rankstone.hub import COMMIT
from rankstone.specs import TaskSpec, canonical_digest

FILES, IRDS, HUB = "files:", "irds:", "hf:"
FORMS = (
    "a folder in BEIR layout (./DIR or files:DIR#SPLIT), "
    "files:docs=PATH,topics=PATH,qrels=PATH, irds:ID, or hf:OWNER/NAME"
)
NEEDED, OPTIONAL = ("docs", "topics", "qrels"), ("query",)
PACKED = ".tar.zst"
HUB_FORM = "hf:OWNER/NAME[@REVISION][#split=SPLIT,lang=LANGUAGE]"
LONGEST_LABEL = 48
DIGITS = 8
"""Number of digits of a digest or commit in a name."""
FILE_TASKS, OWN = "qrels/", "own/"
UNDEFINED = (FILE_TASKS, OWN, "files/", "hf/", "irds/")
"""First parts of the names of tasks without a definition: the first for files of judgements, the
second for user-defined names."""
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_ID = re.compile(r"[A-Za-z0-9_][\w.+-]*(?:/[A-Za-z0-9_][\w.+-]*)*", re.ASCII)


def task_of(name: str) -> TaskSpec | None:
    """Return the task that `name` describes in one of the forms above; None if it has no such form.

    Raises:
        DefinitionError: `name` has one of the forms, but contains an error.
        DataError: the folder is not in BEIR layout.
    """
    if name.startswith(IRDS):
        return _from_irds(name.removeprefix(IRDS), name)
    if name.startswith(HUB):
        return _from_hub(name.removeprefix(HUB), name)
    if name.startswith(FILES):
        rest = name.removeprefix(FILES)
        return _from_trio(rest, name) if re.match(r"\w+=", rest) else _from_folder(rest, name)
    return _from_folder(name, name) if _is_path(name) else None


def hub_label(name: str) -> str:
    """Return the start of the recorded names of a hub data set, without contacting the hub."""
    identifier, revision, stated = hub_parts(name.removeprefix(HUB), name)
    label = _hub_name(identifier, stated.get("lang"), stated.get("split"))
    return f"{label}+revision-{revision[:DIGITS]}" if COMMIT.fullmatch(revision) else label


def file_task(path: Path, *, relevance: int = 1) -> TaskSpec:
    """Return a task that is one file of judgements, in TREC or BEIR format.

    Raises:
        DataError: there is no such file.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}. Name one with judgements.")
    content = content_digest({"qrels": path})
    stem = path.name.partition(".")[0]
    mark = content if relevance == 1 else canonical_digest([content, relevance])
    name = f"{FILE_TASKS}{stem}-{mark[:DIGITS]}"
    return TaskSpec(
        name=name,
        description=f"The judgements of {path.name}.",
        loader="qrels",
        source={"file": str(path.expanduser().resolve()), "content": content},
        dataset=name,
        relevance=relevance,
    )


def named_by_user(task: TaskSpec, name: str) -> TaskSpec:
    """Return a task without a definition under the name `own/NAME`.

    Raises:
        DefinitionError: the task has a definition, or `name` is not a valid name.
    """
    if not task.name.startswith(UNDEFINED):
        raise DefinitionError(f"--as names data without a definition; {task.name} has one.")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,47}", name, re.ASCII):
        raise DefinitionError(
            f"--as '{name}': expected letters, digits, '_', '-' and '.', 48 at most."
        )
    return task.model_copy(update={"name": f"{OWN}{name}"})


def _is_path(name: str) -> bool:
    """Return True if `name` is written as a path (`./x`, `/x`, `~/x`), or exists as one."""
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


def _from_hub(text: str, name: str) -> TaskSpec:
    """Return the task of a hub data set, at the commit in its name."""
    identifier, revision, stated = hub_parts(text, name)
    data_set = HubDataSet.named(name, identifier, revision or None)
    language = stated.get("lang")
    split, train = _hub_splits(data_set, language, stated.get("split"))
    return hub_task(identifier, data_set.commit, language, split, train)


def hub_parts(text: str, name: str) -> tuple[str, str, dict[str, str]]:
    """Split `OWNER/NAME@REVISION#split=dev,lang=de` into identifier, revision and choices."""
    whole, _, chosen = text.partition("#")
    identifier, _, revision = whole.partition("@")
    if not _HUB_ID.fullmatch(identifier):
        raise DefinitionError(f"'{name}': '{identifier}' is not OWNER/NAME. Write {HUB_FORM}.")
    return identifier, revision, _choices(chosen, name)


def hub_task(
    identifier: str, commit: str, language: str | None, split: str, train: str | None
) -> TaskSpec:
    """Return the task of a hub data set at a commit, without contacting the hub."""
    mark = f"+revision-{commit[:DIGITS]}"
    source = {"repository": identifier, "revision": commit}
    return TaskSpec(
        name=_hub_name(identifier, language, split) + mark,
        description=f"The split '{split}' of {identifier} on the hub.",
        loader="hub",
        source=source | ({"language": language} if language else {}),
        dataset=_hub_name(identifier, language, None) + mark,
        split=split,
        train_split=train,
    )


def _hub_name(identifier: str, language: str | None, split: str | None) -> str:
    own = f"/lang-{language}" if language else ""
    return f"hf/{identifier}{own}" + (f"/split-{split}" if split not in (None, "test") else "")


def _choices(text: str, name: str) -> dict[str, str]:
    """Parse `split=dev,lang=de`; a single word is the split."""
    pairs = [part.partition("=") for part in text.split(",") if part]
    found = {key if equals else "split": value or key for key, equals, value in pairs}
    unknown = sorted(found.keys() - {"split", "lang"})
    if (
        unknown
        or len(found) < len(pairs)
        or not all(re.fullmatch(r"[\w.-]+", v) for v in found.values())
    ):
        raise DefinitionError(f"'{name}': '{text}' is not a choice. Write {HUB_FORM}.")
    return found


def _hub_splits(
    data_set: HubDataSet, language: str | None, stated: str | None
) -> tuple[str, str | None]:
    """Return the splits of the judgements and of training queries, both verified to exist."""
    splits = data_set.judged_splits(language)
    split = stated or (splits[0] if len(splits) == 1 else "test")
    data_set.table("qrels", language=language, split=split)
    data_set.table("corpus", language=language, split=split)
    queries = data_set.table("queries", language=language, split=split)
    shared = len(data_set.configurations[queries.configuration]) == 1
    return split, "train" if shared and "train" in splits and split != "train" else None


def _from_folder(text: str, name: str) -> TaskSpec:
    from rankstone.benchmarks.loaders.plain import content_of

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
    content = content_of(path)
    dataset = _task_name(label, content)
    return TaskSpec(
        name=dataset if split == "test" else _task_name(f"{label}-{split}", content),
        description=f"The split '{split}' of {path}.",
        loader="plain",
        source={"path": str(path), "content": content},
        dataset=dataset,
        split=split,
        train_split="train" if "train" in splits and split != "train" else None,
    )


def _path_and_split(text: str, name: str) -> tuple[Path, str | None]:
    """Split `DIR#split`, unless there is a folder of that whole name."""
    before, hash_sign, after = text.rpartition("#")
    for path, split in ((text, None), (before, after)):
        full = Path(path).expanduser().resolve()
        if path and (full.is_dir() or (full.is_file() and full.name.endswith(PACKED))):
            return full, split or None
    full = Path(before if hash_sign else text).expanduser().resolve()
    fault = f"a file, expected a folder or a {PACKED}" if full.is_file() else "no such folder"
    raise DefinitionError(f"'{name}': {full}: {fault}. A task may be {FORMS}.")


def _splits(path: Path) -> list[str]:
    """Return the splits of a folder; none for an archive, which is not yet extracted."""
    if path.is_file():
        return []
    from rankstone.benchmarks.loaders.plain import splits_of

    return splits_of(path)


def _from_trio(text: str, name: str) -> TaskSpec:
    given = trio_parts(text)
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
    from rankstone.benchmarks.loaders.trec import content_of

    source = {key: str(Path(values[key]).expanduser().resolve()) for key in NEEDED}
    label = f"{_stem(source['docs'])}-{_stem(source['topics'])}"
    source["content"] = content_of(*(Path(source[key]) for key in NEEDED))
    source |= {key: values[key] for key in OPTIONAL if key in values}
    full = _task_name(label, canonical_digest([source["content"], values.get("query")]))
    return TaskSpec(
        name=full,
        description=f"{source['docs']} with the topics {source['topics']}.",
        loader="trec",
        source=source,
        dataset=full,
    )


def trio_parts(text: str) -> list[tuple[str, str, str]]:
    """Split `docs=PATH,topics=PATH,qrels=PATH` into keys, separators and values."""
    return [part.partition("=") for part in re.split(r",(?=\w+=)", text)]


def _usage() -> str:
    return ",".join(f"{key}=PATH" for key in NEEDED)


def _stem(path: str) -> str:
    """Return the last part of a path without suffixes: `docs.xml.gz` -> `docs`."""
    return Path(path).name.lstrip(".").partition(".")[0]


def _task_name(label: str, content: str) -> str:
    safe = re.sub(r"[^\w.-]+", "-", label, flags=re.ASCII)[:LONGEST_LABEL].strip("-._")
    return f"files/{safe or 'collection'}-{content[:DIGITS]}"
