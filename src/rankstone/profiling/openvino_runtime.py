"""OpenVINO, without its telemetry.

Its Python package reports each import and each conversion to a server: `openvino_telemetry` forks
the process for that, which copies gigabytes of page tables in the middle of a measurement, and
sends what nobody asked for. Its own stub takes over where that package cannot be imported.
"""

from __future__ import annotations

import sys
from typing import Any


def import_openvino() -> Any:
    """Return the module `openvino`; the first import of it decides about telemetry."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino
