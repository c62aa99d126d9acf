"""`rankstone run`, `plan` and `load`: methods on tasks, under bars of progress."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

from rankstone.cli.options import Output, TaskNameOption, command, echo, stderr

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


def chosen_cells(
    methods: Annotated[
        list[str],
        typer.Argument(
            help="Methods (rankstone list runners), hf:ORG/NAME[@REVISION], mteb:NAME, ./FOLDER"
            " with weights, ./FILE.toml."
        ),
    ],
    on: Annotated[
        list[str],
        typer.Option(
            "--on",
            help="Tasks and suites (rankstone list benchmarks), ./FOLDER, files:..., irds:ID,"
            " hf:OWNER/NAME.",
        ),
    ],
    k: Annotated[int | None, typer.Option("--k", min=1, help="Depth [the task's].")] = None,
    limit_queries: Annotated[
        int | None,
        typer.Option("--limit-queries", min=1, help="Use only the first N judged queries."),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0, help="Time limit of a cell, in seconds.")
    ] = None,
    memory_limit: Annotated[
        str | None, typer.Option("--memory-limit", help="Memory limit of a cell, as in 8GiB.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Random seed.")] = 0,
    force: Annotated[
        bool,
        typer.Option("--force", help="Run cells that are stored already, or may not fit."),
    ] = False,
    model_path: Annotated[
        Path | None,
        typer.Option("--model-path", help="Folder with the weights of the only METHOD."),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option("--budget", help="Limit of API costs: 2.50 (US dollars) or 2Mtokens."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the only METHOD in records.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set a parameter of the methods; repeatable. m=16,32 runs both.",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")
    ] = "auto",
    precision: Annotated[
        str | None, typer.Option("--precision", help="fp32, bf16 or int8 [the definition's].")
    ] = None,
    candidates: Annotated[
        str | None,
        typer.Option("--candidates", help="First-stage method of a cross-encoder."),
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option("--depth", min=1, help="Number of candidates for each query [100]."),
    ] = None,
    measures: Annotated[
        list[str] | None,
        typer.Option("--measures", help="Further measures, computed from the stored runs."),
    ] = None,
    task_name: TaskNameOption = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="[ADDRESS]",
            help="Run on a Ray cluster: HOST:PORT [that of this machine, or a new one].",
        ),
    ] = None,
) -> Arguments:
    """Return the options as arguments of `Session.sweep`."""
    from rankstone.session import Changes

    return dict(
        methods=methods,
        tasks=on,
        k=k,
        limit_queries=limit_queries,
        timeout_s=timeout,
        memory_limit_bytes=parse_bytes(memory_limit) if memory_limit else None,
        seed=seed,
        force=force,
        model_path=model_path,
        measures=measures or (),
        task_name=task_name,
        device=device,
        ray=True if ray == "auto" else ray,
        **parse_budget(budget),
        changes=Changes(
            settings=tuple(settings or ()),
            precision=precision,
            name=name,
            candidates=candidates,
            depth=depth,
        ),
    )


@command("results", "data", "cache", "workspace", cells=chosen_cells)
def run(here: Session, cells: Arguments) -> None:
    """Evaluate methods on tasks and store one record per cell."""
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


@command("results", "data", "cache", "workspace", cells=chosen_cells)
def plan(here: Session, cells: Arguments, out: Output) -> None:
    """Forecast time, memory, index, disk and price of each cell.

    Measures a sample of each cell; exit code 1 if a cell would fail or does not fit.
    """
    from rankstone.cli.bars import drawn
    from rankstone.leaderboards.forecasts.plan_page import page

    with drawn(here) as session:
        found = session.plan(**cells)
    out.draw(page(found), "plan")
    if any(cell.state in ("does not fit", "fails") for cell in found):
        raise typer.Exit(1)


@command("results", "data", "cache", "workspace", cells=chosen_cells)
def load(
    here: Session,
    cells: Arguments,
    out: Output,
    rate: Annotated[
        list[str] | None,
        typer.Option("--rate", help="Requests per second of an open loop: 10,50,100."),
    ] = None,
    p99: Annotated[
        str | None,
        typer.Option("--p99", help="Search for the highest rate with p99 within this: 50ms."),
    ] = None,
    clients: Annotated[
        list[str] | None,
        typer.Option("--clients", help="Numbers of clients of a closed loop: 1,2,4,8."),
    ] = None,
    duration: Annotated[
        str, typer.Option("--duration", help="Time in which requests arrive, in each trial.")
    ] = "10s",
    arrivals: Annotated[
        str, typer.Option("--arrivals", help="Arrivals of the open loop: poisson or constant.")
    ] = "poisson",
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Threads that serve the open loop.")
    ] = 1,
    queue: Annotated[
        int | None,
        typer.Option("--queue", min=1, help="Maximum of waiting requests; others are dropped."),
    ] = None,
    request_timeout: Annotated[
        str, typer.Option("--request-timeout", help="Time limit of a request, from its arrival.")
    ] = "10s",
    updates: Annotated[
        float | None,
        typer.Option(
            "--updates", help="Insertions and deletions per second, during the first --rate."
        ),
    ] = None,
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
            arrivals=arrivals,  # type: ignore[arg-type] # checked there
            workers=workers,
            queue=queue,
            request_timeout_s=parse_seconds(request_timeout, "--request-timeout"),
            updates=updates,
            **cells,
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
