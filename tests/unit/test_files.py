"""Atomic files and folders, exclusive locks, and the root of the cache."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rankstone import files
from rankstone.files import (
    appearing,
    appearing_folder,
    build_once,
    cache_root,
    lock,
    sha256_of,
    temporary_folder,
)

HOLDER = """
import sys, time
from pathlib import Path
from rankstone.files import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def fail(_: object) -> None:
    raise RuntimeError


posix = pytest.mark.skipif(os.name != "posix", reason="needs file locks")


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), appearing(path) as out:
        fail(out.write(b"half"))
    assert path.read_bytes() == b"old"
    with appearing(path) as out:
        out.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


def test_a_folder_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a"
    with appearing_folder(path) as fresh:
        (fresh / "x").write_text("old")
    with pytest.raises(RuntimeError), appearing_folder(path) as fresh:
        fail((fresh / "x").write_text("half"))
    assert (path / "x").read_text() == "old"
    with appearing_folder(path) as fresh:
        (fresh / "y").write_text("new")
    assert names(path) == ["y"]
    assert names(path.parent) == ["a"]


@posix
def test_a_folder_is_built_once_and_leftovers_go(tmp_path: Path) -> None:
    target, built = tmp_path / "a", []
    leftover = tmp_path / f".a.0badcafe{files.TEMPORARY}"
    leftover.mkdir()

    def fill(folder: Path) -> None:
        built.append(folder)
        (folder / "x").touch()

    workers = [
        threading.Thread(target=build_once, args=(target, Path.is_dir, fill)) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(built) == 1
    assert names(target) == ["x"]
    assert not leftover.exists()


@posix
def test_a_lock_excludes_and_goes_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "a"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with lock(path, wait=False) as held:
            assert not held
        process.kill()
        with lock(path) as held:
            assert held


KEEPER = """
import sys
from pathlib import Path
from rankstone.files import temporary_folder
with temporary_folder(Path(sys.argv[1]), ".work-{}") as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


@posix
def test_a_temporary_folder_is_found_from_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server started by an adapter works in a separate folder."""
    monkeypatch.chdir(tmp_path)
    with temporary_folder(Path("results"), ".work-{}") as folder:
        assert folder.is_absolute()
        assert folder.parent.samefile("results")


def test_temporary_folders_go_with_their_process_and_not_before(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KEEPER, str(tmp_path)]
    old = tmp_path / ".work-12345678"  # of a version that locked none
    strange = tmp_path / ".work-of-someone-else"
    for folder in (old, strange):
        folder.mkdir()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        os.utime(folder, (1, 1))
        with temporary_folder(tmp_path, ".work-{}") as mine:
            assert folder.is_dir()
            assert old.is_dir()
        assert not mine.exists()
        process.kill()
        process.wait()
        os.utime(old, (1, 1))
        os.utime(strange, (1, 1))
        with temporary_folder(tmp_path, ".work-{}"):
            assert not folder.exists()
            assert not old.exists()
    assert list(tmp_path.iterdir()) == [strange]


def test_where_there_can_be_no_lock_it_is_granted(tmp_path: Path) -> None:
    with lock(tmp_path / "missing" / "a", wait=False) as held:
        assert held


def test_the_root_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("RANKSTONE_CACHE", raising=False)
    assert cache_root() == tmp_path / "xdg" / "rankstone"
    monkeypatch.setenv("RANKSTONE_CACHE", str(tmp_path / "named"))
    assert cache_root() == tmp_path / "named"
    assert cache_root(tmp_path / "given") == tmp_path / "given"


def test_a_digest_is_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"content").hexdigest()
