"""Draws a sweep: one bar per cell with rate and time left; plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from rankstone.results.record import RunRecord
from rankstone.specs import MethodSpec, TaskSpec

PLAIN_INTERVAL_S = 10.0


class Silent:
    """Says nothing: what the Python API uses unless told otherwise."""

    def preparing(self, task: TaskSpec, what: str, done: int, total: int | None) -> None: ...
    def started(self, method: MethodSpec, task: TaskSpec) -> None: ...
    def event(self, event: Mapping[str, Any]) -> None: ...
    def finished(self, record: RunRecord, *, reused: bool, seconds: float) -> None: ...


class RateColumn(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "", style="progress.data.speed")


class Drawn:
    """Progress on `console` (standard error)."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            RateColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._shown: dict[str, TaskID] = {}
        self._label = ""
        self._name = ""
        self._plain = _PlainProgress(console)

    def __enter__(self) -> Drawn:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def preparing(self, task: TaskSpec, what: str, done: int, total: int | None) -> None:
        self._label = f"prepare {task.name}"
        self._draw(what, done, total)

    def started(self, method: MethodSpec, task: TaskSpec) -> None:
        self._label = f"{method.name} on {task.name}"
        self._draw("start", 0, None)

    def event(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "progress":
            self._draw(event["name"], event["done"], event["total"])
        elif event["event"] == "phase" and event["name"] != self._name:
            self._draw(event["name"], 0, None)

    def finished(self, record: RunRecord, *, reused: bool, seconds: float) -> None:
        for bar in self._shown.values():
            self._bars.remove_task(bar)
        self._shown, self._name = {}, ""
        summary = _summary(record, reused=reused, seconds=seconds)
        self._console.print(summary, highlight=False, soft_wrap=True)

    def _draw(self, name: str, done: int, total: int | None) -> None:
        """One bar is seen at a time; that of a phase which is returned to goes on as it was."""
        what = name.replace("_", " ")
        if name not in self._shown:
            self._shown[name] = self._bars.add_task(f"{self._label}  [cyan]{what}[/]", total=total)
        if name != self._name:
            for other, bar in self._shown.items():
                self._bars.update(bar, visible=other == name)
            self._name = name
        if total is not None:
            self._bars.update(self._shown[name], completed=done, total=total)
            if not self._console.is_terminal:
                self._plain.line(f"{self._label}  {what}", done, total)


class _PlainProgress:
    """A line now and then, for logs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun: dict[str, tuple[float, int]] = {}
        self._last = time.monotonic()

    def line(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        since, before = self._begun.setdefault(what, (now, done))
        if done < before:  # another member of the method has begun
            self._begun[what] = (now, done)
        if done <= before or now - self._last < PLAIN_INTERVAL_S:
            return
        self._last = now
        rate = (done - before) / (now - since)
        self._console.print(
            f"{what}: {done:,}/{total:,}, {rate:,.0f}/s, {(total - done) / rate:.0f} s left",
            highlight=False,
            soft_wrap=True,
        )


def _summary(record: RunRecord, *, reused: bool, seconds: float) -> str:
    what = f"{record.method.name} on {record.task.name}"
    if record.status != "ok":
        message = record.error.message if record.error else "no message"
        return f"[red]✗[/] {what}: {record.status}: {_escape(message)}"
    headline = record.measures.get(record.task.headline)
    value = f"  {record.task.headline} {headline.mean:.4f}" if headline else ""
    how = "already measured, reused (--force measures anew)" if reused else f"{seconds:.1f} s"
    return f"[green]✓[/] {what}{value}  [dim]{how}[/]"


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
