"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def find_data_folder() -> Path | None:
    """Real collections: `RANKSTONE_DATA`, or a folder `shared/data` beside the checkout."""
    named = os.environ.get("RANKSTONE_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    return folder.resolve() if folder.is_dir() else None


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real collections; the test is skipped where there is none."""
    folder = find_data_folder()
    if folder is None:
        pytest.skip("no real collections: set RANKSTONE_DATA to a folder that holds them")
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """A test of real collections may not be skipped where the collections are."""
    report = yield
    uses_data = "data_folder" in getattr(item, "fixturenames", ())
    if report.skipped and uses_data and find_data_folder() and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped although {find_data_folder()} is there: {report.longrepr}"
    return report
