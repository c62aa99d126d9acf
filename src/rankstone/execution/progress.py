"""Draws a sweep: one bar per cell with rate and time left; plain lines in a log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

from rankstone.cli.bars import Bars
from rankstone.results.record import RunRecord
from rankstone.specs import MethodSpec, TaskSpec


class Drawn:
    """Progress on `console` (standard error)."""

    def __init__(self, console: Console) -> None:
        self._console, self._bars = console, Bars(console)
        self._label = self._phase = ""

    def __enter__(self) -> Drawn:
        self._bars.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.__exit__()

    def preparing(self, task: TaskSpec, what: str, done: int, total: int | None) -> None:
        self._bars.draw_preparing(what, done, total, label="prepare")

    def started(self, method: MethodSpec, task: TaskSpec) -> None:
        self._bars.clear()
        self._label = f"{method.name} on {task.name}"
        self._draw("start", 0, None)

    def event(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "progress":
            self._draw(event["name"], event["done"], event["total"])
        elif event["event"] == "phase" and event["name"] != self._phase:
            self._draw(event["name"], 0, None)

    def finished(self, record: RunRecord, *, reused: bool, seconds: float) -> None:
        self._bars.clear()
        summary = _summary(record, reused=reused, seconds=seconds)
        self._console.print(summary, highlight=False, soft_wrap=True)

    def _draw(self, phase: str, done: int, total: int | None) -> None:
        self._phase = phase
        self._bars.draw(phase.replace("_", " "), done, total, label=self._label)


def _summary(record: RunRecord, *, reused: bool, seconds: float) -> str:
    what = f"{record.method.name} on {record.task.name}"
    if record.status != "ok":
        message = record.error.message if record.error else "no message"
        return f"[red]✗[/] {what}: {record.status}: {escape(message)}"
    headline = record.measures.get(record.task.headline)
    value = f"  {record.task.headline} {headline.mean:.4f}" if headline else ""
    how = "already measured, reused (--force measures anew)" if reused else f"{seconds:.1f} s"
    return f"[green]✓[/] {what}{value}  [dim]{how}[/]"
