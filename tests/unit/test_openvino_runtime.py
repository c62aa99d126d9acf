"""OpenVINO is imported without its telemetry."""

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


def test_openvino_reports_nothing_to_its_makers():
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    ).stdout
    assert output.split() == ["None", "openvino.tools.ovc.telemetry_stub"]


# Four threads of a fresh process give it their first array at once. Without the array that
# `import_openvino` gives it, about one process in twelve never ends.
AT_ONCE = """
import sys, threading
import numpy as np
from rankstone.profiling.openvino_runtime import import_openvino
openvino = import_openvino()
from openvino import opset13
row = opset13.parameter([-1, 4], np.float32)
network = openvino.Model([opset13.relu(row)], [row])
compiled = openvino.Core().compile_model(network, "CPU", {"NUM_STREAMS": 2})
sys.setswitchinterval(1e-6)
together = threading.Barrier(4)
def infer(request):
    together.wait()
    request.infer([np.ones((3, 4), np.float32)], share_inputs=True)
requests = [compiled.create_infer_request() for _ in range(4)]
threads = [threading.Thread(target=infer, args=(request,)) for request in requests]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


@pytest.mark.slow
@pytest.mark.parametrize("process", range(40))
def test_first_inferences_of_several_threads_end(process):
    subprocess.run([sys.executable, "-c", AT_ONCE], check=True, timeout=60)
