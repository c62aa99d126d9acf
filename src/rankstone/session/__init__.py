"""The Python API."""

from __future__ import annotations

from rankstone.session.session import Session as Session
from rankstone.workspace import Changes as Changes
