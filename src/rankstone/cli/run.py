"""`rankstone run`, `plan` and `load`: methods on tasks, under bars of progress."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from typer.core import TyperCommand

from rankstone.cli.options import (
    MEASURES,
    REQUIRED,
    Options,
    Output,
    TaskNameOption,
    argument,
    command,
    echo,
    option,
    parameter,
    stderr,
)

if TYPE_CHECKING:
    from rankstone import RunRecord, Session
    from rankstone.execution.sweep import Sweep


class RunCommand(TyperCommand):
    """The command, whose option `--ray` may stand without a value, which typer has not."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        following = [*args[1:], "--"]
        pairs = zip(args, following, strict=True)
        bare = [one == "--ray" and other.startswith("-") for one, other in pairs]
        whole = [[one, "auto"] if alone else [one] for one, alone in zip(args, bare, strict=True)]
        return super().parse_args(ctx, [one for part in whole for one in part])


THOUSANDS = {"": 1, "k": 10**3, "m": 10**6}
SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0}
Arguments = dict[str, Any]
BYTES = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


CELLS: Options = {
    "methods": argument(
        list[str],
        "Methods (rankstone list runners), hf:ORG/NAME[@REVISION], mteb:NAME, ./FOLDER"
        " with weights, ./FILE.toml.",
    ),
    "on": option(
        list[str],
        "Tasks and suites (rankstone list benchmarks), ./FOLDER, files:..., irds:ID,"
        " hf:OWNER/NAME.",
        default=REQUIRED,
    ),
    "k": option(int | None, "Depth [the task's].", min=1),
    "limit_queries": option(int | None, "Use only the first N judged queries.", min=1),
    "timeout": option(float | None, "Time limit of a cell, in seconds.", min=0),
    "memory_limit": option(str | None, "Memory limit of a cell, as in 8GiB."),
    "seed": option(int, "Random seed.", default=0),
    "force": option(
        bool, "Run cells that are stored already, or may not fit.", "--force", default=False
    ),
    "model_path": option(Path | None, "Folder with the weights of the only METHOD."),
    "budget": option(str | None, "Limit of API costs: 2.50 (US dollars) or 2Mtokens."),
    "name": option(str | None, "Name of the only METHOD in records."),
    "settings": option(
        list[str] | None, "Set a parameter of the methods; repeatable. m=16,32 runs both.", "--set",
        metavar="KEY=VALUE",
    ),
    "device": option(str, "auto, cpu, cuda, cuda:N or mps.", default="auto"),
    "precision": option(str | None, "fp32, bf16 or int8 [the definition's]."),
    "candidates": option(str | None, "First-stage method of a cross-encoder."),
    "depth": option(int | None, "Number of candidates for each query [100].", min=1),
    "measures": MEASURES,
    "task_name": parameter(TaskNameOption),
    "ray": option(
        str | None, "Run on a Ray cluster: HOST:PORT [that of this machine, or a new one].",
        metavar="[ADDRESS]",
    ),
}  # fmt: skip
"""Options of commands that run cells."""


def arguments(
    *,
    on: list[str],
    timeout: float | None,
    memory_limit: str | None,
    budget: str | None,
    settings: list[str] | None,
    measures: list[str] | None,
    ray: str | None,
    **given: Any,
) -> Arguments:
    """Return the values of `CELLS` as arguments of `Session.sweep`, others as they are."""
    from rankstone.session import Changes

    changes = {name: given.pop(name) for name in ("precision", "name", "candidates", "depth")}
    return dict(
        **given,
        tasks=on,
        timeout_s=timeout,
        memory_limit_bytes=parse_bytes(memory_limit) if memory_limit else None,
        measures=measures or (),
        ray=True if ray == "auto" else ray,
        **parse_budget(budget),
        changes=Changes(settings=tuple(settings or ()), **changes),
    )


@command("results", "data", "cache", "workspace", options=CELLS)
def run(here: Session, **given: Any) -> None:
    """Evaluate methods on tasks and store one record per cell."""
    cells = arguments(**given)
    sweep, measures = here.sweep(**cells), cells["measures"]
    records = _drawn(sweep)
    if measures:
        records = here.with_measures(records, measures)
    Output().board(here.labelled(records))
    echo(f"records: {sweep.store.folder}", err=True)
    if sweep.purse.spent.tokens:
        echo(f"APIs: {sweep.purse.spent}", err=True)
    if any(record.status != "ok" for record in records):
        raise typer.Exit(1)


@command("results", "data", "cache", "workspace", options=CELLS)
def plan(here: Session, out: Output, **given: Any) -> None:
    """Forecast time, memory, index, disk and price of each cell.

    Measures a sample of each cell; exit code 1 if a cell would fail or does not fit.
    """
    from rankstone.cli.bars import drawn
    from rankstone.leaderboards.forecasts.plan_page import page

    with drawn(here) as session:
        found = session.plan(**arguments(**given))
    out.draw(page(found), "plan")
    if any(cell.state in ("does not fit", "fails") for cell in found):
        raise typer.Exit(1)


TRIALS: Options = {
    "rate": option(list[str] | None, "Requests per second of an open loop: 10,50,100."),
    "p99": option(str | None, "Search for the highest rate with p99 within this: 50ms."),
    "clients": option(list[str] | None, "Numbers of clients of a closed loop: 1,2,4,8."),
    "duration": option(str, "Time in which requests arrive, in each trial.", default="10s"),
    "arrivals": option(
        str, "Arrivals of the open loop: poisson or constant.", default="poisson"
    ),
    "workers": option(int, "Threads that serve the open loop.", min=1, default=1),
    "queue": option(int | None, "Maximum of waiting requests; others are dropped.", min=1),
    "request_timeout": option(
        str, "Time limit of a request, from its arrival.", default="10s"
    ),
    "updates": option(
        float | None, "Insertions and deletions per second, during the first --rate."
    ),
}  # fmt: skip
"""Options of trials under load."""


@command("results", "data", "cache", "workspace", options={**CELLS, **TRIALS})
def load(
    here: Session,
    out: Output,
    *,
    rate: list[str] | None,
    p99: str | None,
    clients: list[str] | None,
    duration: str,
    request_timeout: str,
    **given: Any,
) -> None:
    """Measure latency and throughput of each cell under load.

    Latency counts from the scheduled arrival. The records hold the trials; exit code 1 if a cell
    failed.
    """
    from rankstone.cli.bars import drawn
    from rankstone.leaderboards.loads.page import page

    with drawn(here) as session:
        records = session.load(
            rates=parse_numbers(rate, "--rate"),
            p99_ms=parse_seconds(p99, "--p99") * 1e3 if p99 else None,
            clients=[int(n) for n in parse_numbers(clients, "--clients")],
            duration_s=parse_seconds(duration, "--duration"),
            request_timeout_s=parse_seconds(request_timeout, "--request-timeout"),
            **arguments(**given),
        )
    out.draw(page(here.labelled(records)), "load")
    if any(record.status != "ok" for record in records):
        raise typer.Exit(1)


def parse_numbers(given: list[str] | None, option: str) -> list[float]:
    """`["10,50", "100"]` -> numbers."""
    try:
        return [float(one) for text in given or () for one in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{option}: write numbers as in 10,50,100") from None


def parse_seconds(text: str, option: str) -> float:
    """`"50ms"`, `"10s"`, `"2min"`, `"10"` -> seconds."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min)?\s*", text)
    if match is None:
        raise typer.BadParameter(f"'{text}' is not a time; write it as in 50ms or 10s ({option})")
    return float(match[1]) * SECONDS[match[2] or "s"]


def parse_bytes(text: str) -> int:
    """`"8GiB"`, `"512M"`, `"1000000"` -> bytes; units are powers of 1024."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", text, re.IGNORECASE)
    if match is None:
        raise typer.BadParameter(f"'{text}' is not a size; write it as in 8GiB or 512MiB")
    return int(float(match[1]) * BYTES[match[2].lower()])


def parse_budget(text: str | None) -> dict[str, Any]:
    """`"2.50"` -> US dollars, `"2Mtokens"` -> tokens, as arguments of `Session.sweep`."""
    if text is None:
        return {}
    match = re.fullmatch(r"\s*\$?(\d+(?:\.\d+)?)\s*([km]?)\s*(tokens)?\s*", text, re.IGNORECASE)
    if match is None or (match[2] and not match[3]):
        raise typer.BadParameter(f"'{text}' is not a budget; write it as in 2.50 or 2Mtokens")
    if match[3] is None:
        return {"budget_usd": float(match[1])}
    return {"budget_tokens": int(float(match[1]) * THOUSANDS[match[2].lower()])}


def _drawn(plan: Sweep) -> list[RunRecord]:
    """The records of all cells, run under bars of progress; exit 130 where it is interrupted."""
    from rankstone.cli.bars import Bars

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, _interrupt)
    records: list[RunRecord] = []
    try:
        with Bars(stderr()) as reporter:
            for record in plan.run(reporter):
                records.append(record)  # noqa: PERF402 - kept for the message on Ctrl-C
    except KeyboardInterrupt:
        total = len(plan.methods) * len(plan.tasks)
        echo(
            f"Interrupted: {len(records)} of {total} cells are stored in {plan.store.folder}; "
            "nothing half-written remains. The same command continues from there.",
            err=True,
        )
        raise typer.Exit(130) from None
    return records


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
