"""The public BEIR data sets, through ir_datasets or from BEIR's own zip files.

Both read the same file, pinned by the md5 that BEIR publishes, so the content and its digests do
not depend on the route (https://github.com/beir-cellar/beir, "Available Datasets").
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rankstone.benchmarks.dataset import RawDataset, Sources
from rankstone.benchmarks.loaders import irds
from rankstone.benchmarks.loaders.beir import Files, from_folder
from rankstone.benchmarks.storage.archives import extracted
from rankstone.benchmarks.storage.download import Remote, fetch
from rankstone.errors import MissingExtraError
from rankstone.specs import TaskSpec, canonical_digest

URL = "https://public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets/{}.zip"


def load(
    task: TaskSpec,
    sources: Sources,
    *,
    archive: str,
    md5: str,
    splits: Sequence[str],
    inside: str | None = None,
    url: str | None = None,
    irds_id: str | None = None,
    irds_file: str | None = None,
) -> RawDataset:
    """Return one BEIR data set.

    Args:
        archive: name of the zip file without its ending.
        md5: md5 of the zip file.
        splits: the splits with judgements.
        inside: folder in the zip file; `archive` by default.
        url: address of the zip file, if it is not on BEIR's server.
        irds_id: id of the data set in ir_datasets; `beir/<inside>` by default.
        irds_file: name of the zip file in ir_datasets' list; `archive` by default.

    Raises (from the callables of the result): DataError, as `storage.download.fetch`.
    """
    folder = inside or archive
    address = url or URL.format(archive)
    id, file = irds_id or f"beir/{folder}", irds_file or archive
    warnings: set[str] = set()

    @functools.cache
    def route() -> RawDataset:
        if not in_ir_datasets(sources, id, file, md5):
            return _zipped(sources, Remote(url=address, md5=md5), folder)
        of = {s: id if len(splits) == 1 else f"{id}/{s}" for s in splits}
        needs = {key: [file] for key in ("documents", "queries", *splits)}
        return irds.load(task, sources, id=id, splits=of, files=needs)

    def streamed(rows: Iterable[Any]) -> Iterator[Any]:
        yield from rows
        warnings.update(route().warnings)

    return RawDataset(
        documents=lambda: streamed(route().documents()),
        queries=lambda: streamed(route().queries()),
        judgements=lambda split: streamed(route().judgements(split)),
        splits=lambda: list(splits),
        # The fingerprint is that of the zip file, so that both routes share a converted copy.
        fingerprint=canonical_digest([md5, folder]),
        source=f"{address}#{folder}",
        locate=lambda what, index: route().locate(what, index),
        warnings=warnings,
    )


def in_ir_datasets(sources: Sources, id: str, file: str, md5: str) -> bool:
    """Return True if an installed ir_datasets has the data set `id` from a file with that md5."""
    try:
        module = irds.library(sources)
    except MissingExtraError:
        return False
    listed = module.util.DownloadConfig.contents().get("beir", {}).get(file, {})
    return id in module.registry and listed.get("expected_md5") == md5


def _zipped(sources: Sources, remote: Remote, folder: str) -> RawDataset:
    name = remote.url.rpartition("/")[2]
    packed = sources.cache / "downloads" / f"{str(remote.md5)[:8]}-{name}"
    target = sources.cache / "extracted" / "zip" / f"{str(remote.md5)[:16]}" / folder
    source = f"{remote.url}#{folder}"

    @functools.cache
    def unpacked() -> Any:
        archive = fetch(remote, packed, sources.progress)
        return extracted(archive, target, within=folder) / folder

    return from_folder(Files(packed, unpacked), source, str(remote.md5))
