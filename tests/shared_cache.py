"""What takes seconds to make and is the same in every cache, for tests that have their own."""

from __future__ import annotations

from pathlib import Path

from rankstone.files import cache_root


def sharing(cache: Path) -> Path:
    """The folder `cache`, made new, with the converted networks and collections of all tests."""
    cache.mkdir(parents=True, exist_ok=True)
    for name in ("networks", "datasets"):
        shared = cache_root() / name
        shared.mkdir(parents=True, exist_ok=True)
        (cache / name).symlink_to(shared, target_is_directory=True)
    return cache
