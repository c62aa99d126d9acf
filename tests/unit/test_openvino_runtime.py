"""OpenVINO is imported without what reports its use."""

import subprocess
import sys

import pytest

pytest.importorskip("openvino")

PROGRAM = """
import sys
from rankstone.profiling.openvino_runtime import import_openvino
import_openvino().Core()
import openvino.tools.ovc as converter
print(sys.modules.get("openvino_telemetry"), converter.telemetry.__module__)
"""


def test_it_reports_nothing():
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    ).stdout
    assert output.split() == ["None", "openvino.tools.ovc.telemetry_stub"]
