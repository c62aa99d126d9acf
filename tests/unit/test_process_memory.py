"""Memory of a cell: its process and all descendants, with each page counted once."""

import subprocess
import sys

from rankstone.execution.descendants import descendants
from rankstone.execution.process import resident_bytes

MIB = 2**20
PROGRAM = """
import os, sys, time
held = bytearray(os.urandom(1) * (200 * 2**20))
ready, done = os.pipe()
for _ in range(3):
    if os.fork() == 0:
        if sys.argv[1] == "own":
            more = bytearray(b"x" * (100 * 2**20))
        os.write(done, b"x")
        time.sleep(60)
        os._exit(0)
for _ in range(3):
    os.read(ready, 1)
print("ready", flush=True)
time.sleep(60)
"""


def measured(kind: str) -> int:
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, kind], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        return resident_bytes(child.pid, descendants(child.pid))
    finally:
        subprocess.run(["kill", "-9", "--", f"-{child.pid}"], check=False)
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def test_what_forked_children_share_counts_once():
    assert 200 * MIB < measured("shared") < 300 * MIB


def test_what_children_hold_themselves_counts():
    assert 500 * MIB < measured("own") < 620 * MIB


def test_a_process_that_is_gone_holds_nothing():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert resident_bytes(gone.pid, []) == 0
