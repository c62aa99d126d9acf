"""OpenVINO, without its telemetry.

Its Python package reports each import and each conversion to a server: `openvino_telemetry` forks
the process for that, which copies gigabytes of page tables in the middle of a measurement, and
sends what nobody asked for. Its own stub takes over where that package cannot be imported.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy


def import_openvino() -> Any:
    """Return the module `openvino`; the first import of it decides about telemetry.

    Its binding looks NumPy up at the first array it is given. Two threads that do so at once can
    wait for each other forever, so the first array is given here, by one thread.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    openvino.Tensor(numpy.zeros(1))
    return openvino
