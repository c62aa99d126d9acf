"""BEIR's zip files, and the same data set through ir_datasets."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rankstone.benchmarks.dataset import Dataset, Sources
from rankstone.benchmarks.loaders import beir_zip
from rankstone.benchmarks.storage import download
from rankstone.benchmarks.storage.archives import extracted
from rankstone.benchmarks.store import open_dataset, verify_dataset
from rankstone.errors import ChecksumError, DataError, NetworkError, SourceGoneError
from rankstone.specs import TaskSpec
from tests.servers import Served, serving
from tests.unit.test_beir import EXPECTED, FILES, summary, write

TINY = {
    **FILES,
    "corpus.jsonl": FILES["corpus.jsonl"] + '{"_id": "d3", "title": "Grüße", "text": " 三\\t "}\n',
    "qrels/train.tsv": "query-id\tcorpus-id\tscore\nq2\td3\t1\n",
    "SOURCE.md": "not data",
}


def zipped(files: dict[str, str], top: str = "tiny") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(f"{top}/", "")
        for name, content in files.items():
            packed.writestr(f"{top}/{name}", content)
    return buffer.getvalue()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Served]:
    monkeypatch.setattr(download, "WAIT_S", 0.0)
    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IR_DATASETS_SMALL_FILE_SIZE", "0")
    with serving(Served(files={"tiny.zip": zipped(TINY)})) as running:
        monkeypatch.setattr(beir_zip, "URL", running.url("{}.zip"))
        yield running


def task(served: Served, splits: tuple[str, ...] = ("train", "test"), **source: Any) -> TaskSpec:
    md5 = hashlib.md5(served.files["tiny.zip"]).hexdigest()
    values = {"archive": "tiny", "md5": md5, "splits": list(splits), **source}
    return TaskSpec(
        name="beir/tiny",
        description="",
        dataset="beir/tiny",
        loader="beir_zip",
        source=values,
        train_split="train" if "train" in splits else None,
    )


def opened(spec: TaskSpec, folder: Path) -> Dataset:
    return open_dataset(spec, Sources(data=None, cache=folder))


def test_a_zip_is_fetched_and_read(served: Served, tmp_path: Path) -> None:
    served.cut_after = 100
    data = opened(task(served), tmp_path)
    assert summary(data)[2:] == EXPECTED[2:]
    assert data.corpus.texts(0, 3) == ["One first", "second", "Grüße  三"]
    assert list(data.train_queries) == []
    assert "1 queries of 'train' are also in 'test'" in data.warnings[0]
    assert data.source == f"{served.url('tiny.zip')}#tiny"
    assert [wanted for _, wanted in served.asked] == [None, "bytes=100-"]
    served.status = 404
    assert opened(task(served), tmp_path).sha256 == data.sha256


def register(monkeypatch: pytest.MonkeyPatch, served: Served, home: Path, splits: Any) -> None:
    """Register `beir/tiny` in ir_datasets, in the same way as its BEIR data sets."""
    library = pytest.importorskip("ir_datasets")
    beir, util = library.datasets.beir, library.util
    entry = {
        "url": served.url("tiny.zip"),
        "expected_md5": hashlib.md5(served.files["tiny.zip"]).hexdigest(),
        "cache_path": "tiny/source.zip",
    }
    monkeypatch.setattr(util.DownloadConfig, "contents", lambda: {"beir": {"tiny": entry}})
    file = util.DownloadConfig.context("beir", home / "beir")["tiny"]
    documents = beir.BeirDocs("tiny", util.ZipExtract(file, "tiny/corpus.jsonl"), beir.BeirTitleDoc)
    queries = beir.BeirQueries(
        "tiny", util.ZipExtract(file, "tiny/queries.jsonl"), library.formats.GenericQuery
    )
    qrels = {s: beir.BeirQrels(util.ZipExtract(file, f"tiny/qrels/{s}.tsv"), {}) for s in splits}
    registry = util.Registry()
    own = [qrels["test"]] if len(splits) == 1 else []
    registry.register("beir/tiny", library.Dataset(documents, queries, *own))
    if not own:
        for name, part in qrels.items():
            registry.register(f"beir/tiny/{name}", library.Dataset(documents, queries, part))
    monkeypatch.setattr(library, "registry", registry)


@pytest.mark.parametrize("splits", [("train", "test"), ("test",)])
def test_the_same_digests_either_way(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, splits: tuple[str, ...]
) -> None:
    spec = task(served, splits)
    by_zip = opened(spec, tmp_path / "zip")
    assert (tmp_path / "zip/downloads").is_dir()
    register(monkeypatch, served, tmp_path / "home", splits)
    by_library = opened(spec, tmp_path / "library")
    assert not (tmp_path / "library/downloads").exists()
    assert (tmp_path / "home/beir/tiny/source.zip").is_file()
    assert by_library.sha256 == by_zip.sha256
    assert by_library.warnings == by_zip.warnings
    assert summary(by_library) == summary(by_zip)
    write(tmp_path / "mirror/beir/tiny", dict(TINY))
    mirror = Sources(data=tmp_path / "mirror", cache=tmp_path / "cache")
    assert open_dataset(spec, mirror).sha256 == by_zip.sha256
    assert verify_dataset(spec, mirror) == by_zip.sha256


def test_another_file_in_ir_datasets_is_not_taken(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, served, tmp_path / "home", ("train", "test"))
    served.files["tiny.zip"] = zipped({**TINY, "queries.jsonl": TINY["queries.jsonl"] + "\n"})
    opened(task(served), tmp_path)
    assert (tmp_path / "downloads").is_dir()


def test_one_folder_of_an_archive_with_several(served: Served, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for forum in ("android", "and", "english"):
            for name, content in FILES.items():
                packed.writestr(f"tiny/{forum}/{name}", content.replace("first", forum))
    served.files["tiny.zip"] = buffer.getvalue()
    for forum in ("and", "english"):
        data = opened(task(served, ("test",), inside=f"tiny/{forum}"), tmp_path)
        assert data.corpus.texts(0, 1) == [f"One {forum}"]
    unpacked = {path.parent.name for path in tmp_path.rglob("corpus.jsonl")}
    assert unpacked == {"and", "english"}
    assert len([path for path, _ in served.asked if path == "/tiny.zip"]) == 1


def test_a_missing_split_is_named(served: Served, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no judgements for the split 'dev'"):
        opened(task(served).model_copy(update={"split": "dev"}), tmp_path)
    with pytest.raises(DataError, match=r"holds no qrels/dev.tsv"):
        opened(task(served, ("dev",)).model_copy(update={"split": "dev"}), tmp_path)


@pytest.mark.parametrize("fault", ["gone", "bytes", "net"])
def test_faults_of_the_download(served: Served, tmp_path: Path, fault: str) -> None:
    spec = task(served)
    good = served.files["tiny.zip"]
    served.status = {"gone": 404, "net": 503}.get(fault)
    if fault == "bytes":
        served.files["tiny.zip"] = good[:-1] + b"!"
    kind = {"gone": SourceGoneError, "bytes": ChecksumError, "net": NetworkError}[fault]
    with pytest.raises(kind, match=r"/tiny\.zip"):
        opened(spec, tmp_path)
    served.status, served.files["tiny.zip"] = None, good
    assert len(opened(spec, tmp_path).corpus) == 3


@pytest.mark.parametrize("cut", [0.2, 0.6, 0.99])
def test_a_truncated_archive_is_named(tmp_path: Path, cut: float) -> None:
    content = zipped(TINY)
    archive = tmp_path / "tiny.zip"
    archive.write_bytes(content[: int(len(content) * cut)])
    with pytest.raises(DataError, match=r"tiny.zip: truncated or damaged: .* fetch it again"):
        extracted(archive, tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_a_damaged_member_is_named(tmp_path: Path) -> None:
    content = bytearray(zipped({"corpus.jsonl": "a line of text, and another one\n" * 40}))
    content[70] ^= 0xFF
    (tmp_path / "tiny.zip").write_bytes(content)
    with pytest.raises(DataError, match="truncated or damaged"):
        extracted(tmp_path / "tiny.zip", tmp_path / "target")


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "tiny/../../out.txt", "C:/out.txt"])
def test_members_outside_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "a" / "tiny.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("tiny/corpus.jsonl", "")
        packed.writestr(name, "out")
    with pytest.raises(DataError, match="would be written outside of its folder"):
        extracted(archive, tmp_path / "a" / "target", within="tiny")
    assert [path.name for path in tmp_path.rglob("out.txt")] == []


def test_a_symbolic_link_becomes_a_plain_file(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("tiny/link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "tiny.zip", "w") as packed:
        packed.writestr(link, "/etc/hostname")
    found = extracted(tmp_path / "tiny.zip", tmp_path / "target") / "tiny" / "link"
    assert not found.is_symlink()
    assert found.read_text() == "/etc/hostname"
