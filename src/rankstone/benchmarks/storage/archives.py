"""Archives of data sets: each is extracted once into the cache, completely or not at all.

The size of the extracted content is limited during extraction: to `RATIO` times the size of the
archive, but at least `FREE_BYTES` and at most `LARGEST_BYTES`. Each member counts an additional
`MEMBER_BYTES`.
"""

from __future__ import annotations

import io
import lzma
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, cast

from rankstone.benchmarks.storage.atomic_folders import build_once, whole, write_meta
from rankstone.errors import DataError
from rankstone.text_files import DAMAGE, opened

CHUNK = 1 << 20
CONTENT = "content"
RATIO = 200
"""Text is usually compressed to a tenth or a third of its size, rarely to a hundredth."""
FREE_BYTES = 64 << 20
LARGEST_BYTES = 4 << 40
MEMBER_BYTES = 4096
"""Minimum disk space of a file."""
_ENCRYPTED = 0x41
"""Flags of an encrypted member, with standard or strong encryption."""
_READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def extracted(archive: Path, target: Path, within: str = "") -> Path:
    """Return the content of a `.tar.zst` or `.zip`, extracted below `target` on first use.

    Args:
        within: extract only this folder of a `.zip`, whose members can be read individually.

    Raises:
        DataError: the archive is truncated, damaged, encrypted or too large when extracted, or a
            member would be written outside the folder.
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


class _Budget:
    """Number of bytes that an archive may still extract to."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.limit = min(LARGEST_BYTES, max(FREE_BYTES, RATIO * archive.stat().st_size))
        self.left = self.limit

    def spend(self, n_bytes: int) -> None:
        self.left -= n_bytes
        if self.left < 0:
            raise DataError(
                f"{self.archive}: unpacks to more than {self.limit:,} bytes, {RATIO} times its"
                " size. If it is what you expect, unpack it yourself and name the folder."
            )

    def copy(self, content: IO[bytes], path: Path) -> None:
        """Write `content` to the new file `path`."""
        self.spend(MEMBER_BYTES)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            while block := content.read(CHUNK):
                self.spend(len(block))
                file.write(block)


class _BudgetedStream:
    """A stream that counts against a budget, for tar headers, which are read into memory."""

    def __init__(self, stream: io.BufferedReader, budget: _Budget) -> None:
        self._stream, self._budget = stream, budget

    def read(self, size: int) -> bytes:
        block = self._stream.read(size)
        self._budget.spend(len(block))
        return block


def _extract(stream: io.BufferedReader, archive: Path, folder: Path) -> None:
    content, budget = _BudgetedStream(stream, _Budget(archive)), _Budget(archive)
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", content), mode="r|") as tar:
            for member in tar:
                _extract_member(tar, member, budget, folder)
        while content.read(CHUNK):
            pass  # read to the end to detect truncation after the last member
    except (tarfile.TarError, *DAMAGE) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # an error of the system, such as a full disk
        raise _damaged(archive, error) from None


def _damaged(archive: Path, error: Exception) -> DataError:
    return DataError(f"{archive}: truncated or damaged: {error}. Delete it and fetch it again.")


def _extract_zip(archive: Path, folder: Path, within: str) -> None:
    """Extract the files below the folder `within`; the names of all members are checked."""
    budget = _Budget(archive)
    try:
        with zipfile.ZipFile(archive) as packed:
            for member in packed.infolist():
                path = _safe_path(member.filename, archive, folder)
                if member.is_dir() or not PurePosixPath(member.filename).is_relative_to(within):
                    continue
                _refuse_unreadable(member, archive)
                # A symbolic link is written as it is stored: a file that contains its target.
                with packed.open(member) as content:
                    budget.copy(content, path)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, struct.error) as error:
        raise _damaged(archive, error) from None
    except OSError as error:
        if error.errno is not None:
            raise  # an error of the system
        raise _damaged(archive, error) from None


def _refuse_unreadable(member: zipfile.ZipInfo, archive: Path) -> None:
    """Raise DataError for a member that Python cannot read."""
    fault = None
    if member.flag_bits & _ENCRYPTED:
        fault = "is encrypted"
    elif member.compress_type not in _READABLE:
        fault = f"is packed by method {member.compress_type}, which Python cannot read"
    if fault:
        raise DataError(
            f"{archive}: member '{member.filename}' {fault}. Unpack it with another program"
            " (7z x) and name the folder."
        )


def _extract_member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, budget: _Budget, folder: Path
) -> None:
    path = _safe_path(member.name, budget.archive, folder)
    if member.isdir():
        budget.spend(MEMBER_BYTES)
        path.mkdir(parents=True, exist_ok=True)
        return
    content = tar.extractfile(member) if member.isreg() and not member.issparse() else None
    if content is None:
        raise DataError(
            f"{budget.archive}: member '{member.name}' is neither a file nor a folder."
            " Pack it again."
        )
    budget.copy(content, path)


def _safe_path(name: str, archive: Path, folder: Path) -> Path:
    """Return the path of a member; DataError if it is outside `folder`, or not printable UTF-8."""
    path = PurePosixPath(name)
    drive = PureWindowsPath(name).drive
    if path.is_absolute() or ".." in path.parts or "\\" in name or drive:
        raise DataError(
            f"{archive}: member '{name}' would be written outside of its folder. "
            "Do not use this archive."
        )
    if {unicodedata.category(character) for character in name} & {"Cc", "Cs"}:
        raise DataError(
            f"{archive}: member {name!r} has a name with control characters, or not in UTF-8."
            " Pack it again."
        )
    return folder.joinpath(*path.parts)
