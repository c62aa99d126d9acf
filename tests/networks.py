"""Converted networks, which take seconds to make, for tests that have caches of their own."""

from __future__ import annotations

from pathlib import Path

from rankstone.files import cache_root


def sharing_networks(cache: Path) -> Path:
    """The folder `cache`, made new, whose networks are those that all tests of a run share."""
    shared = cache_root() / "networks"
    shared.mkdir(parents=True, exist_ok=True)
    cache.mkdir(parents=True, exist_ok=True)
    (cache / shared.name).symlink_to(shared, target_is_directory=True)
    return cache
