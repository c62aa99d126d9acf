"""OpenVINO, without its telemetry.

Its Python package reports each import and each conversion to a server: `openvino_telemetry` forks
the process, which copies gigabytes of page tables in the middle of a measurement, and sends data
without consent. If that package cannot be imported, OpenVINO uses its own stub.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy


def import_openvino() -> Any:
    """Return the module `openvino`, without telemetry on its first import.

    The binding imports NumPy when it receives its first array. Two threads that trigger this at
    once can deadlock, so one thread passes the first array here.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    openvino.Tensor(numpy.zeros(1))
    return openvino
