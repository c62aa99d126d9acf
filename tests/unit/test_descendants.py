"""Descendants of a process are ended with it, also detached ones and those of a dead process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from rankstone.execution.descendants import MARK, end_process

PROGRAM = """
import os, subprocess, sys, time
from pathlib import Path
from rankstone.execution.descendants import adopt_orphans
adopt_orphans()
known = subprocess.Popen(["sleep", "600"], env={}).pid
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        Path(sys.argv[1], str(known)).touch()
        Path(sys.argv[1], str(os.getpid())).touch()
        time.sleep(600)
    os._exit(0)
os.wait()
time.sleep(600)
"""


@pytest.mark.parametrize("dead", [False, True], ids=["alive", "dead"])
def test_descendants_end_with_the_process(tmp_path: Path, dead: bool) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        env={**os.environ, MARK: str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    )
    while len(started := list(tmp_path.iterdir())) < 2:
        time.sleep(0.01)
    if dead:
        child.kill()
        child.wait()
    end_process(child, str(tmp_path))
    assert child.returncode == -9
    for path in started:
        pid = int(path.name)
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"
