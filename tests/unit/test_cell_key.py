"""The cell key covers the code that can change a measurement, and no other."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rankstone.execution.cell_key import DIGESTED, HOME, source_digest

WITHOUT_EFFECT = {
    "__init__.py", "__main__.py", "arrays.py", "catalogue.py", "cli", "doctor.py", "errors.py",
    "hub.py", "leaderboards", "progress.py", "py.typed", "records.py", "session", "views.py",
    "workspace_template", "workspace",
    *(
        f"results/{name}"
        for name in (
            "__init__.py", "exports.py", "imports.py", "histories.py", "mteb_results.py",
            "mteb_tasks.py", "own_names.py", "record.py", "removal.py", "schema.py", "sections",
            "selection.py", "serialise.py", "side_files.py", "store.py",
        )
    ),
}  # fmt: skip
"""Code for display, lookup, storage and reading, which cannot change measurements."""


def parts() -> set[str]:
    """Return the top-level folders and files of the package, and the content of `results`."""
    found = {path.relative_to(HOME) for path in (*HOME.iterdir(), *HOME.glob("results/*"))}
    kept = {path.as_posix() for path in found if path.name != "__pycache__"}
    return kept - {"results"}


def test_all_code_is_digested_or_known_to_have_no_effect() -> None:
    assert parts() - set(DIGESTED) <= WITHOUT_EFFECT
    assert set(DIGESTED) <= parts()
    assert not WITHOUT_EFFECT & set(DIGESTED)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return Path(
        shutil.copytree(HOME, tmp_path / "rankstone", ignore=shutil.ignore_patterns("__pycache__"))
    )


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("leaderboards/boards.py", False),
        ("cli/app.py", False),
        ("results/store.py", False),
        ("results/trec_run.py", True),
        ("evaluation/measures.py", True),
        ("runners/transformer/tokens.py", True),
        ("strict.py", True),
    ],
)
def test_an_edit_changes_the_key_where_it_can_change_a_number(
    package: Path, file: str, changes: bool
) -> None:
    with (package / file).open("a") as out:
        out.write("\n# edited\n")
    assert (source_digest(package) != source_digest(HOME)) == changes


def test_a_renamed_file_changes_the_key(package: Path) -> None:
    (package / "evaluation/measures.py").rename(package / "evaluation/measures_2.py")
    assert source_digest(package) != source_digest(HOME)
