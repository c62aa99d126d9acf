"""Archives that are encrypted, of unknown compression, or larger than declared."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard

from rankstone.benchmarks.storage.archives import FREE_BYTES, extracted
from rankstone.errors import DataError

ZEROS = bytes(FREE_BYTES)


def refused(archive: Path, message: str) -> None:
    """Check that the archive is refused after writing little, and that no files remain."""
    target = archive.parent / "target"
    with pytest.raises(DataError, match=message) as caught:
        extracted(archive, target)
    assert archive.name in str(caught.value)
    assert not target.exists()
    assert [p for p in archive.parent.iterdir() if p.suffix == ".tmp"] == []


def stored(path: Path, content: bytes = b"text") -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("set/corpus.jsonl", content)
    return path


def patched(archive: Path, offset: int, value: bytes) -> Path:
    """Change a field of the member's header, and of its directory entry, 2 bytes further on."""
    content = bytearray(archive.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[offset : offset + len(value)] = value
    content[entry + offset + 2 : entry + offset + 2 + len(value)] = value
    archive.write_bytes(content)
    return archive


def test_an_encrypted_member_is_named(tmp_path: Path) -> None:
    archive = patched(stored(tmp_path / "a.zip"), 6, b"\x01\x00")
    refused(archive, "'set/corpus.jsonl' is encrypted. Unpack it with another program")


def test_an_unknown_compression_is_named(tmp_path: Path) -> None:
    archive = patched(stored(tmp_path / "a.zip"), 8, b"\x60\x00")  # 96: JPEG
    refused(archive, "'set/corpus.jsonl' is packed by method 96, which Python cannot read")


def test_a_zip_that_unpacks_to_too_much_is_stopped(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("set/corpus.jsonl", ZEROS)
    assert (tmp_path / "bomb.zip").stat().st_size < 100_000
    refused(tmp_path / "bomb.zip", "unpacks to more than 67,108,864 bytes, 200 times its size")


def compressed(path: Path, content: bytes) -> Path:
    path.write_bytes(zstandard.compress(content))
    return path


def test_a_tar_that_unpacks_to_too_much_is_stopped(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("set/corpus.jsonl")
        member.size = len(ZEROS)
        tar.addfile(member, io.BytesIO(ZEROS))
    refused(compressed(tmp_path / "a.tar.zst", buffer.getvalue()), "unpacks to more than")


def test_an_immense_header_of_a_tar_is_stopped(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 1 << 40
    refused(
        compressed(tmp_path / "a.tar.zst", header.tobuf(tarfile.GNU_FORMAT) + ZEROS),
        "unpacks to more than",
    )


def test_many_empty_members_are_stopped(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("a"))
    one = buffer.getvalue()[:512]
    refused(compressed(tmp_path / "a.tar.zst", one * 20_000 + bytes(1024)), "unpacks to more than")


def test_a_hole_of_a_sparse_file_is_not_written(tmp_path: Path) -> None:
    member = tarfile.TarInfo("set/corpus.jsonl")
    member.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"%011o\0" % (1 << 32)  # the size with its hole
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:512]))
    archive = compressed(tmp_path / "a.tar.zst", bytes(header) + bytes(1024))
    refused(archive, "is neither a file nor a folder")


@pytest.mark.parametrize("name", ["set/\x1b[31m", "set/a\nb"])
def test_names_with_control_characters_are_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(name, "x")
    refused(tmp_path / "a.zip", "has a name with control characters")


def test_text_that_packs_well_is_extracted(tmp_path: Path) -> None:
    text = b"the same line of text again\n" * 100_000
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_BZIP2) as packed:
        packed.writestr("set/corpus.jsonl", text)
    found = extracted(tmp_path / "a.zip", tmp_path / "target")
    assert (found / "set" / "corpus.jsonl").read_bytes() == text
