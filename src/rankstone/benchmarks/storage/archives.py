"""Packed data sets: an archive is extracted once into the cache, whole or not at all."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from rankstone.benchmarks.storage.atomic_folders import build_once, whole, write_meta
from rankstone.errors import DataError
from rankstone.text_files import DAMAGE, opened

CHUNK = 1 << 20
CONTENT = "content"


def extracted(archive: Path, target: Path, within: str = "") -> Path:
    """Return the content of a `.tar.zst` or `.zip`, extracted below `target` on first use.

    Args:
        within: only this folder of a `.zip`, whose members can be read one by one.

    Raises:
        DataError: the archive is truncated or damaged, or a member would leave the folder.
    """

    def fill(folder: Path) -> None:
        (folder / CONTENT).mkdir()
        if archive.suffix == ".zip":
            _extract_zip(archive, folder / CONTENT, within)
        else:
            with opened(archive) as packed:
                _extract(packed, archive, folder / CONTENT)
        write_meta(folder, {"archive": str(archive)})

    return build_once(target, whole, fill) / CONTENT


def _extract(stream: io.BufferedReader, archive: Path, folder: Path) -> None:
    try:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                _extract_member(tar, member, archive, folder)
        while stream.read(CHUNK):
            pass  # to the end, so that a stream truncated behind the last member is noticed
    except (tarfile.TarError, *DAMAGE) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the system, such as a full disk
        raise _damaged(archive, error) from None


def _damaged(archive: Path, error: Exception) -> DataError:
    return DataError(f"{archive}: truncated or damaged: {error}. Delete it and fetch it again.")


def _extract_zip(archive: Path, folder: Path, within: str) -> None:
    """The files below the folder `within`; the names of all members are checked."""
    try:
        with zipfile.ZipFile(archive) as packed:
            for member in packed.infolist():
                path = _safe_path(member.filename, archive, folder)
                if member.is_dir() or not PurePosixPath(member.filename).is_relative_to(within):
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                # A symbolic link is written as what it is stored as: a file that holds its target.
                with packed.open(member) as content, path.open("wb") as file:
                    shutil.copyfileobj(content, file, CHUNK)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise _damaged(archive, error) from None


def _extract_member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, archive: Path, folder: Path
) -> None:
    path = _safe_path(member.name, archive, folder)
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    content = tar.extractfile(member) if member.isreg() else None
    if content is None:
        raise DataError(
            f"{archive}: member '{member.name}' is neither a file nor a folder. Pack it anew."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        shutil.copyfileobj(content, file, CHUNK)


def _safe_path(name: str, archive: Path, folder: Path) -> Path:
    """Return the path of a member; DataError if it is not inside `folder`."""
    path = PurePosixPath(name)
    drive = PureWindowsPath(name).drive
    if path.is_absolute() or ".." in path.parts or "\\" in name or drive:
        raise DataError(
            f"{archive}: member '{name}' would be written outside of its folder. "
            "Do not use this archive."
        )
    return folder.joinpath(*path.parts)
