"""One bar at a time, with rate and time left; where there is no terminal, a line now and then."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

if TYPE_CHECKING:
    from rankstone import RunRecord, Session
    from rankstone.specs import MethodSpec, TaskSpec

PLAIN_INTERVAL_S = 10.0
COUNTED = ("documents", "queries", "judgements")
"""What the store counts while it prepares; whatever else it reports is a download."""
Unit = Literal["items", "bytes"]


@dataclass
class _Begun:
    """A bar, where and when its rate begins, and how far it has come."""

    bar: TaskID
    since: int
    at: float
    done: int


class _Figures(ProgressColumn):
    """What is known; of what is not counted, the time it takes so far."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["figures"] or duration(task.elapsed or 0.0))


class Bars:
    """Progress on `console` (standard error), of whatever goes on: drawn between `with` and end."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            _Figures(Column(no_wrap=True)),
            console=console,
            transient=True,
            disable=not console.is_terminal,
            get_time=clock,
        )
        self._begun: dict[str, _Begun] = {}
        self._seen = ""
        self._told = 0.0

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def draw(
        self, what: str, done: int, total: int | None, *, label: str = "", unit: Unit = "items"
    ) -> None:
        """Show that of `what` so many are done, of `total` (None: not known).

        Nothing done of nobody knows how many is a beginning: what is returned to goes on as it was.
        """
        now, name = self._clock(), f"{label}  {what}".lstrip()
        begun = self._begun.get(name) or self._begin(name, label, what, done, now)
        self._see(name)
        if not done and total is None:
            return
        if done < begun.done:  # it is done once more: another member of the method has begun
            begun.since, begun.at = done, now
        begun.done, elapsed = done, now - begun.at
        rate = (done - begun.since) / elapsed if elapsed else 0.0
        shown = figures(done, total, rate=rate, unit=unit)
        self._progress.update(begun.bar, completed=done, total=total, figures=shown)
        if not self._console.is_terminal and rate and now - self._told >= PLAIN_INTERVAL_S:
            self._told = now
            self._console.print(f"{name}: {shown}", highlight=False, soft_wrap=True)

    def draw_preparing(self, what: str, done: int, total: int | None, *, label: str = "") -> None:
        """The same as a collection's `rankstone.progress.Progress` tells it."""
        unit: Unit = "items" if what.endswith(COUNTED) else "bytes"
        self.draw(what, done, total, label=label, unit=unit)

    def clear(self) -> None:
        """Take the bars away; whatever comes next begins anew."""
        for begun in self._begun.values():
            self._progress.remove_task(begun.bar)
        self._begun, self._seen = {}, ""

    def _begin(self, name: str, label: str, what: str, done: int, now: float) -> _Begun:
        description = f"{escape(label)}  [cyan]{escape(what)}[/]".lstrip()
        bar = self._progress.add_task(description, total=None, figures="")
        # A download that goes on begins where it stopped: that much took no time.
        self._begun[name] = _Begun(bar, done, now, done)
        self._told = now
        return self._begun[name]

    def _see(self, name: str) -> None:
        if name != self._seen:
            for other, begun in self._begun.items():
                self._progress.update(begun.bar, visible=other == name)
            self._seen = name


class Drawn:
    """A sweep on `console` (standard error): a bar per cell, then a line about its record."""

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


@contextlib.contextmanager
def drawn(session: Session) -> Iterator[Session]:
    """The session with its progress drawn on standard error."""
    with Drawn(Console(stderr=True)) as reporter:
        yield dataclasses.replace(session, reporter=reporter)


def _summary(record: RunRecord, *, reused: bool, seconds: float) -> str:
    what = f"{record.method.name} on {record.task.name}"
    if record.status != "ok":
        message = record.error.message if record.error else "no message"
        return f"[red]✗[/] {what}: {record.status}: {escape(message)}"
    headline = record.measures.get(record.task.headline)
    value = f"  {record.task.headline} {headline.mean:.4f}" if headline else ""
    how = "already measured, reused (--force measures anew)" if reused else f"{seconds:.1f} s"
    return f"[green]✓[/] {what}{value}  [dim]{how}[/]"


def figures(done: int, total: int | None, *, rate: float, unit: Unit = "items") -> str:
    """`"2,000/5,183  812/s  4 s left"`; nothing is said of what is not known."""
    say: Callable[[float], str] = _count if unit == "items" else _size
    parts = [say(done) if total is None else f"{say(done)}/{say(total)}"]
    if rate > 0:
        parts.append(f"{say(rate)}/s")
        if total is not None and total >= done:
            parts.append(f"{duration((total - done) / rate)} left")
    return "  ".join(parts)


def _count(items: float) -> str:
    return f"{items:,.0f}"


def _size(n_bytes: float) -> str:
    return decimal(int(n_bytes))


def duration(seconds: float) -> str:
    """`4 s`, `3:07 min`, `2:05 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02} h"
