"""Progress bars with rate and remaining time, one at a time; periodic lines without a terminal."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from rankstone.cli.options import stderr
from rankstone.progress import duration, unprinted

if TYPE_CHECKING:
    from rankstone import RunRecord, Session

PLAIN_INTERVAL_S = 10.0
COUNTED = ("documents", "queries", "judgements")
"""Items that the store counts while preparing data; all other progress is downloads, in bytes."""
Unit = Literal["items", "bytes"]


@dataclass
class _Begun:
    """A bar, the count and time from which its rate is computed, and the current count."""

    bar: TaskID
    since: int
    at: float
    done: int


class _Figures(ProgressColumn):
    """Known figures, or the elapsed time of work that is not counted."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["figures"] or duration(task.elapsed or 0.0))


class Bars:
    """Progress of a sweep, or of the preparation of data, on `console` (standard error).

    A context manager that shows one bar at a time, and prints a line for the record of each cell.
    """

    def __init__(
        self,
        console: Console,
        clock: Callable[[], float] = time.monotonic,
        *,
        label: str = "prepare",
    ) -> None:
        self._console, self._clock, self._label, self._cell = console, clock, label, ""
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
        self._warned: set[str] = set()
        self._shown = ""
        self._printed = 0.0

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def started(self, cell: str) -> None:
        """Show the progress of `cell` from now on."""
        self._clear()
        self._cell = cell
        self("start", 0, None)

    def finished(self, record: RunRecord, *, reused: bool, seconds: float) -> None:
        """Print a line for the record of the cell and one per warning, and remove its bars."""
        self._clear()
        self._cell = ""
        summary = _summary(record, reused=reused, seconds=seconds)
        self._console.print(summary, highlight=False, soft_wrap=True)
        for warning in unprinted(record.warnings, self._warned):
            self._console.print(
                f"warning: {warning}", markup=False, highlight=False, soft_wrap=True
            )

    def __call__(self, work: str, done: int, total: int | None, /) -> None:
        """Show progress (`rankstone.progress`) of the running cell, or of preparing its data."""
        if self._cell:
            self._draw(self._cell, work.replace("_", " "), done, total, unit="items")
        else:
            unit: Unit = "items" if work.endswith(COUNTED) else "bytes"
            self._draw(self._label, work, done, total, unit=unit)

    def _draw(self, label: str, work: str, done: int, total: int | None, *, unit: Unit) -> None:
        now, name = self._clock(), f"{label}  {work}".lstrip()
        begun = self._begun.get(name) or self._begin(name, label, work, done, now)
        self._show(name)
        if not done and total is None:
            return
        if done < begun.done:  # restarted by another member of the method
            begun.since, begun.at = done, now
        begun.done, elapsed = done, now - begun.at
        rate = (done - begun.since) / elapsed if elapsed else 0.0
        shown = figures(done, total, rate=rate, unit=unit)
        self._progress.update(begun.bar, completed=done, total=total, figures=shown)
        if not self._console.is_terminal and rate and now - self._printed >= PLAIN_INTERVAL_S:
            self._printed = now
            self._console.print(f"{name}: {shown}", highlight=False, soft_wrap=True)

    def _clear(self) -> None:
        for begun in self._begun.values():
            self._progress.remove_task(begun.bar)
        self._begun, self._shown = {}, ""

    def _begin(self, name: str, label: str, work: str, done: int, now: float) -> _Begun:
        description = f"{escape(label)}  [cyan]{escape(work)}[/]".lstrip()
        bar = self._progress.add_task(description, total=None, figures="")
        # A resumed download starts at its old size, which does not count for the rate.
        self._begun[name] = _Begun(bar, done, now, done)
        self._printed = now
        return self._begun[name]

    def _show(self, name: str) -> None:
        if name != self._shown:
            for other, begun in self._begun.items():
                self._progress.update(begun.bar, visible=other == name)
            self._shown = name


@contextlib.contextmanager
def drawn(session: Session) -> Iterator[Session]:
    """Yield the session with progress bars on standard error."""
    with Bars(stderr()) as bars:
        yield dataclasses.replace(session, reporter=bars)


def _summary(record: RunRecord, *, reused: bool, seconds: float) -> str:
    cell = escape(f"{record.method.name} on {record.task.name}")
    if record.status != "ok":
        message = record.error.message if record.error else "no message"
        return f"[red]✗[/] {cell}: {record.status}: {escape(message)}"
    value = f"  {record.task.headline} {record.headline.mean:.4f}" if record.headline else ""
    when = record.provenance.finished[:10]
    how = f"measured {when}, reused (--force measures again)" if reused else f"{seconds:.1f} s"
    return f"[green]✓[/] {cell}{value}  [dim]{how}[/]"


def figures(done: int, total: int | None, *, rate: float, unit: Unit = "items") -> str:
    """Return ``2,000/5,183  812/s  4 s left``, without unknown parts."""
    text: Callable[[float], str] = "{:,.0f}".format if unit == "items" else _size
    parts = [text(done) if total is None else f"{text(done)}/{text(total)}"]
    if rate > 0:
        parts.append(f"{text(rate)}/s")
        if total is not None and total >= done:
            parts.append(f"{duration((total - done) / rate)} left")
    return "  ".join(parts)


def _size(n_bytes: float) -> str:
    return decimal(int(n_bytes))
