"""Downloads from a server with configurable faults."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rankstone.benchmarks.storage import download
from rankstone.benchmarks.storage.download import Remote, fetch
from rankstone.errors import ChecksumError, DataError, NetworkError, SourceGoneError
from rankstone.runners.search.engines.servers.own_process import free_port
from tests.servers import Served, serving

BODY = bytes(range(256)) * 4000
MD5 = hashlib.md5(BODY).hexdigest()
SHA256 = hashlib.sha256(BODY).hexdigest()
HALF = len(BODY) // 2


@pytest.fixture
def served() -> Iterator[Served]:
    with serving(Served(files={"set.zip": BODY})) as running:
        yield running


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "WAIT_S", 0.0)


def remote(served: Served, name: str = "set.zip", **pins: object) -> Remote:
    return Remote(**{"url": served.url(name), "md5": MD5, **pins})


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_a_file_is_fetched_once_with_progress(served: Served, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    target = tmp_path / "a" / "set.zip"
    pinned = remote(served, sha256=SHA256.upper(), size=len(BODY), headers={"X-Key": "k"})
    for _ in range(2):
        found = fetch(pinned, target, lambda *told: seen.append(told))
        assert found.read_bytes() == BODY
    assert served.asked == [("/set.zip", None)]
    assert served.headers[0]["X-Key"] == "k"
    assert seen[-1] == ("download set.zip", len(BODY), len(BODY))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert left(target.parent) == ["set.zip"]


def test_a_broken_download_is_resumed_by_the_next_call(served: Served, tmp_path: Path) -> None:
    served.cut_after = HALF
    with pytest.raises(NetworkError) as caught:
        fetch(remote(served), tmp_path / "set.zip", attempts=1)
    message = str(caught.value)
    assert served.url("set.zip") in message
    assert str(tmp_path / "set.zip.part") in message
    assert f"{HALF:,} of {len(BODY):,} bytes" in message
    assert "Run again" in message
    assert left(tmp_path) == ["set.zip.part", "set.zip.part.tag"]
    fetch(remote(served), tmp_path / "set.zip", attempts=1)
    assert (tmp_path / "set.zip").read_bytes() == BODY
    assert served.asked[1:] == [("/set.zip", f"bytes={HALF}-")]
    assert served.headers[1]["If-Range"] == '"v1"'
    assert left(tmp_path) == ["set.zip"]


def test_a_break_is_tried_again_at_once(served: Served, tmp_path: Path) -> None:
    served.cut_after = 1000
    fetch(remote(served), tmp_path / "set.zip", attempts=2)
    assert [wanted for _, wanted in served.asked] == [None, "bytes=1000-"]


def test_a_server_without_ranges_starts_over(served: Served, tmp_path: Path) -> None:
    served.ranges, served.cut_after = False, HALF
    fetch(remote(served), tmp_path / "set.zip", attempts=2)
    assert (tmp_path / "set.zip").read_bytes() == BODY
    assert len(served.asked) == 2


def test_a_file_that_changed_between_the_halves_starts_over(served: Served, tmp_path: Path) -> None:
    served.files["set.zip"], served.etag, served.cut_after = b"x" * len(BODY), '"v0"', HALF
    with pytest.raises(NetworkError):
        fetch(remote(served), tmp_path / "set.zip", attempts=1)
    served.files["set.zip"], served.etag = BODY, '"v1"'
    fetch(remote(served), tmp_path / "set.zip", attempts=1)
    assert (tmp_path / "set.zip").read_bytes() == BODY


def test_halves_of_two_versions_without_a_tag_are_noticed_by_the_checksum(
    served: Served, tmp_path: Path
) -> None:
    served.etag = None
    (tmp_path / "set.zip.part").write_bytes(b"of another version")
    fetch(remote(served), tmp_path / "set.zip", attempts=1)
    assert (tmp_path / "set.zip").read_bytes() == BODY
    assert [wanted for _, wanted in served.asked] == ["bytes=18-", None]


@pytest.mark.parametrize("surplus", [b"", b"more"])
def test_a_part_that_is_whole_or_too_long(served: Served, tmp_path: Path, surplus: bytes) -> None:
    (tmp_path / "set.zip.part").write_bytes(BODY + surplus)
    fetch(remote(served), tmp_path / "set.zip", attempts=1)
    assert (tmp_path / "set.zip").read_bytes() == BODY
    assert len(served.asked) == (2 if surplus else 1)


@pytest.mark.parametrize("pins", [{"md5": "0" * 32}, {"md5": None, "sha256": "0" * 64}])
def test_a_wrong_checksum_leaves_nothing(
    served: Served, tmp_path: Path, pins: dict[str, str]
) -> None:
    with pytest.raises(ChecksumError) as caught:
        fetch(remote(served, **pins), tmp_path / "set.zip")
    for part in (served.url("set.zip"), str(tmp_path / "set.zip"), "0" * 32, "Run again"):
        assert part in str(caught.value)
    assert MD5 in str(caught.value) or SHA256 in str(caught.value)
    assert left(tmp_path) == []
    assert len(served.asked) == 1


def test_a_wrong_size_is_refused_before_the_body_is_read(served: Served, tmp_path: Path) -> None:
    seen: list[object] = []
    with pytest.raises(ChecksumError, match=r"expected 5 bytes, the server has 1,024,000"):
        fetch(remote(served, size=5), tmp_path / "set.zip", lambda *told: seen.append(told))
    assert seen == []
    assert left(tmp_path) == []


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_source_that_is_gone(served: Served, tmp_path: Path, status: int) -> None:
    served.status = status
    with pytest.raises(SourceGoneError) as caught:
        fetch(remote(served), tmp_path / "set.zip")
    for part in (served.url("set.zip"), str(status), str(tmp_path / "set.zip"), "--data DIR"):
        assert part in str(caught.value)
    assert len(served.asked) == 1


@pytest.mark.parametrize(("begun", "tries"), [(b"", 1), (BODY[:10], 3)])
def test_a_server_in_trouble_is_not_gone(
    served: Served, tmp_path: Path, begun: bytes, tries: int
) -> None:
    served.status = 503
    (tmp_path / "set.zip.part").write_bytes(begun)
    with pytest.raises(NetworkError, match="503"):
        fetch(remote(served), tmp_path / "set.zip", attempts=3)
    assert len(served.asked) == tries
    assert (tmp_path / "set.zip.part").read_bytes() == begun


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{port}/set.zip", "http://no-such-host.invalid/set.zip"]
)
def test_without_a_network_the_error_names_url_and_file(tmp_path: Path, url: str) -> None:
    url = url.format(port=free_port())
    with pytest.raises(NetworkError) as caught:
        fetch(Remote(url=url), tmp_path / "set.zip", attempts=2)
    assert str(caught.value).startswith(f"{url}: no network: cannot be reached: ")
    assert str(tmp_path / "set.zip") in str(caught.value)


def test_silence_on_the_line_is_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT_S", 0.1)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/set.zip"
        with pytest.raises(NetworkError, match="timed out"):
            fetch(Remote(url=url), tmp_path / "set.zip", attempts=1)


def test_two_at_once_fetch_once(served: Served, tmp_path: Path) -> None:
    targets = [
        threading.Thread(target=fetch, args=(remote(served), tmp_path / "set.zip"))
        for _ in range(4)
    ]
    for thread in targets:
        thread.start()
    for thread in targets:
        thread.join()
    assert (tmp_path / "set.zip").read_bytes() == BODY
    assert len(served.asked) == 1


def test_a_path_that_cannot_be_written(served: Served, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot be written.*--cache"):
        fetch(remote(served), tmp_path / "file" / "set.zip")


def test_other_addresses_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only http and https"):
        fetch(Remote(url="file:///etc/hostname"), tmp_path / "x")
