"""Fixtures and settings that all tests share."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.forked_cells import Template, forking

ROOT = Path(__file__).resolve().parents[1]
IN_PARALLEL = "PYTEST_XDIST_WORKER" in os.environ
if IN_PARALLEL:  # one process a core; read when numpy, torch and faiss are imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.modules.setdefault("openvino_telemetry", None)  # forks at each import and conversion
# transformers copies a checkpoint's code to a folder named as the checkpoint's is: often "model".
MODULES = tempfile.TemporaryDirectory(prefix="rankstone-modules-")
os.environ["HF_MODULES_CACHE"] = MODULES.name
# Others may use the core: nothing is too slow. "whole" is that of `make slow`.
settings.register_profile(
    "rankstone", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("whole", settings.get_profile("rankstone"), max_examples=300)
settings.load_profile("rankstone")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object):
    """Units of tests go to processes as `tests/distribution.py` has them."""
    from tests.distribution import ByUnit

    return ByUnit(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is made while tests are collected stays: the garbage collector never visits it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Several processes begin with what takes longest."""
    if IN_PARALLEL:
        from tests.distribution import longest_first

        longest_first(items)


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache of this run, which all its processes share and no other run sees."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if IN_PARALLEL else base) / "rankstone-cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RANKSTONE_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def template() -> Iterator[Template]:
    """The process from which those of cells are forked."""
    found = Template()
    yield found
    found.close()


@pytest.fixture(scope="module")
def forked_cells(template: Template) -> Iterator[None]:
    """Cells whose processes are forked, which saves each a second of imports."""
    with forking(template):
        yield


@pytest.fixture(scope="module")
def module_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of the module's own, into which its networks are converted once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RANKSTONE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


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
