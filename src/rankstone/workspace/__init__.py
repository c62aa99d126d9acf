"""Definitions of a workspace, by name."""

from __future__ import annotations

from rankstone.runners.unwritten.changes import NONE as NONE
from rankstone.runners.unwritten.changes import Changes as Changes
from rankstone.workspace.given import Methods as Methods
from rankstone.workspace.given import Tasks as Tasks
from rankstone.workspace.given import names_of as names_of
from rankstone.workspace.given import several as several
from rankstone.workspace.layers import Settings as Settings
from rankstone.workspace.layers import packaged_definitions as packaged_definitions
from rankstone.workspace.layers import write_workspace as write_workspace
from rankstone.workspace.workspace import Workspace as Workspace
