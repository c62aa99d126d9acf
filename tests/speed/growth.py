"""Growth of time and memory with the size of a collection, phase by phase.

    make growth                     up to 1.1 million passages: 1/16, 1/8, 1/4, 1/2 and 1 of it
    make growth PASSAGES=8800000

Every size is generated, prepared and measured by BM25 and a static encoder, each step in processes
of its own. The figures go to docs/growth.json, the plot to docs/growth.svg, the page to
docs/growth.md, which also shows the last `make scale`. Exit status 1 if a phase grows otherwise
than by a straight line.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from subprocess import Popen
from time import monotonic
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from rankstone.files import GIB, MIB  # noqa: E402
from tests.speed.scale import METHODS, Job, machine, phases, say, scratch, table  # noqa: E402

PASSAGES = 1_100_000
FRACTIONS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)
ROUNDS = 3
"""Times that every size is measured, one size after the other; figures are medians."""
TOLERANCE = 0.1
SMALL = {"wall_s": 1.0, "cpu_s": 1.0, "peak_rss_bytes": 64 * MIB}
"""Deviations below these are no growth: starts of processes, allocators' blocks."""
SHORT_S = 2.0
"""Phases of fewer CPU seconds at the largest size are not plotted."""
UNITS = {"wall_s": "seconds", "cpu_s": "CPU seconds", "peak_rss_bytes": "peak, GiB"}
DOCS = ROOT / "docs"
Figures = dict[str, dict[str, Any]]
"""Of each phase, named with its method."""


def measured(n: int) -> Figures:
    """Prepare `n` passages and measure every method."""
    with scratch() as folder:
        job = Job(folder, n)
        job.make()
        found = {"prepare": prepared(job)}
        for method in METHODS:
            job.run(method)
            shutil.rmtree(job.vectors, ignore_errors=True)
        for method, record in job.records().items():
            found |= {f"{method}: {name}": it for name, it in phases(record).items()}
    return found


def prepared(job: Job) -> dict[str, Any]:
    """Seconds and peak of converting the collection, by the kernel's own count."""
    started = monotonic()
    process = Popen(job.command("data", "prepare", "passages"), cwd=job.folder)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"data prepare: status {status}")
    cpu = used.ru_utime + used.ru_stime
    peak = used.ru_maxrss * 1024
    return {"wall_s": monotonic() - started, "cpu_s": cpu, "peak_rss_bytes": peak}


def medians(rounds: Sequence[Figures]) -> Figures:
    """Return the median of each figure; None where it was not measured."""

    def median(phase: str, quantity: str) -> float | None:
        values = [figures[phase][quantity] for figures in rounds]
        return None if None in values else statistics.median(values)

    return {phase: {key: median(phase, key) for key in it} for phase, it in rounds[0].items()}


def deviation(sizes: list[int], values: list[float], small: float) -> float:
    """The largest share by which a value is off the straight line that fits all values best.

    Each value counts by its own size; what is off by less than `small` is not off.
    """
    y = np.array(values)
    slope, base = np.polyfit(sizes, y, 1, w=1 / np.maximum(y, small))
    off = np.abs(np.array(sizes) * slope + base - y)
    return float(np.where(off <= small, 0, off / np.maximum(y, small)).max())


def deviations(series: dict[int, Figures]) -> Iterator[tuple[str, str, float]]:
    """Phase, quantity and deviation."""
    sizes = sorted(series)
    for phase in series[sizes[-1]]:
        for quantity, small in SMALL.items():
            values = [series[n][phase][quantity] for n in sizes]
            if None not in values:
                yield phase, quantity, deviation(sizes, values, small)


def picture(series: dict[int, Figures]) -> str:
    """An SVG: seconds and peak memory by the number of passages, of phases that take long."""
    import altair
    import vl_convert

    rows = [
        {
            "passages": n / 1e6,
            "phase": phase.split("/")[-1],
            "quantity": UNITS[key],
            "value": figures[key] / unit,
        }
        for n, found in series.items()
        for phase, figures in found.items()
        if series[max(series)][phase]["cpu_s"] >= SHORT_S
        for key, unit in (("cpu_s", 1), ("peak_rss_bytes", GIB))
    ]
    lines = altair.Chart(altair.InlineData(values=rows)).mark_line(point=True)
    chart = lines.encode(
        x=altair.X("passages:Q", title="million passages"),
        y=altair.Y("value:Q", title=None),
        color=altair.Color("phase:N", title=None, legend=altair.Legend(labelLimit=400)),
        strokeDash=altair.StrokeDash("phase:N", title=None, legend=altair.Legend(labelLimit=400)),
    ).properties(width=330, height=300)
    wide = chart.facet(column=altair.Column("quantity:N", title=None)).resolve_scale(
        y="independent"
    )
    return str(vl_convert.vegalite_to_svg(wide.to_json(), vl_version="5.20"))


def page(growth: dict[str, Any], whole: dict[str, Any] | None) -> str:
    """The Markdown page of both measurements."""
    return "\n".join([*_growth_lines(growth), *(_whole_lines(whole) if whole else ())]) + "\n"


def _growth_lines(growth: dict[str, Any]) -> Iterator[str]:
    series = {int(n): found for n, found in growth["series"].items()}
    sizes = sorted(series)
    yield "# Growth with the size of a collection\n"
    yield (
        "This page shows how time and memory of each phase grow with the number of passages. The"
        " collections are generated: passages have the lengths of MS MARCO's passages, and their"
        " words follow Zipf's law. There are 6,980 queries, with 1,000 results each."
        f" `make growth PASSAGES={sizes[-1]}` measured {', '.join(f'{n:,}' for n in sizes)}"
        f" passages on {_machine(growth)} on {growth['date']}.{_rounds(growth)}\n"
    )
    yield (
        "*Off the line* is the largest relative deviation of any size from the straight line (with"
        f" a constant) that fits all sizes best. The goal is at most {TOLERANCE:.0%}; misses are"
        f" bold. Deviations below {SMALL['cpu_s']:g} s and {SMALL['peak_rss_bytes'] >> 20} MiB"
        " count as 0. Peaks are resident set sizes, including mapped files. All figures are in"
        " [growth.json](growth.json).\n"
    )
    yield "![Seconds and peak memory of the longer phases by the number of passages](growth.svg)\n"
    yield from _phase_lines(series)


def _rounds(growth: dict[str, Any]) -> str:
    n = growth.get("rounds", 1)
    return f" Figures are medians of {n} rounds." if n > 1 else ""


def _phase_lines(series: dict[int, Figures]) -> Iterator[str]:
    last = series[max(series)]
    off = {(phase, quantity): share for phase, quantity, share in deviations(series)}
    columns = "wall s | CPU s | off the line | peak GiB | off the line"
    yield f"| phase, {max(series):,} passages | {columns} |"
    yield "|---|---:|---:|---:|---:|---:|"
    for phase, it in last.items():
        time, memory = (_share(off.get((phase, key), 0)) for key in ("cpu_s", "peak_rss_bytes"))
        seconds = f"{it['wall_s']:,.1f} | {it['cpu_s']:,.1f} | {time}"
        yield f"| {phase} | {seconds} | {it['peak_rss_bytes'] / GIB:.2f} | {memory} |"


def _share(off: float) -> str:
    return f"**{off:.1%}**" if off > TOLERANCE else f"{off:.0%}"


def _whole_lines(whole: dict[str, Any]) -> Iterator[str]:
    yield "\n## The whole job\n"
    yield (
        f"`make scale PASSAGES={whole['passages']}` ran BM25 and a static encoder, from the files"
        f" of a collection to records, on {_machine(whole)}. All processes were killed after"
        f" {whole['killed_after_s'] or 0:,.0f} s, when half of the vectors were stored, and the"
        f" command was run again. Both runs took {whole['wall_s'] / 60:.1f} minutes together; all"
        f" processes together had at most {whole['peak_bytes'] / GIB:.2f} GiB of resident memory."
        + (
            " Quality, run and values per query equal those of an uninterrupted run."
            if "reference_s" in whole and not whole["faults"]
            else ""
        )
        + "".join(f" **{fault}.**" for fault in whole["faults"])
        + "".join(f" {remark}" for remark in whole.get("remarks", ()))
        + " The phases in the records:\n"
    )
    yield from table(whole)


def _machine(found: dict[str, Any]) -> str:
    it = found["machine"]
    return f"{it['cores']} cores of {it['cpu']} with {it['ram_bytes'] / GIB:.0f} GiB"


def write_page() -> None:
    """Write the page from the figures that are stored beside it."""
    growth, whole = (DOCS / name for name in ("growth.json", "growth-whole.json"))
    read = [json.loads(path.read_text()) if path.exists() else None for path in (growth, whole)]
    if read[0] is not None:
        series = {int(n): found for n, found in read[0]["series"].items()}
        (DOCS / "growth.svg").write_text(picture(series))
        (DOCS / "growth.md").write_text(page(read[0], read[1]))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Growth of time and memory, phase by phase.")
    parser.add_argument("--passages", type=int, default=PASSAGES)
    parser.add_argument("--page", action="store_true", help="only write the page again")
    options = parser.parse_args(arguments)
    if options.page:
        write_page()
        return 0
    sizes = [int(options.passages * fraction) for fraction in FRACTIONS]
    found = dict[int, list[Figures]]({n: [] for n in sizes})
    for n in sizes * ROUNDS:
        started = monotonic()
        found[n].append(measured(n))
        say(f"{n:,} passages measured in {monotonic() - started:.0f} s")
    series = {n: medians(rounds) for n, rounds in found.items()}
    date = datetime.now(UTC).date().isoformat()
    growth = {"machine": machine(), "date": date, "rounds": ROUNDS, "series": series}
    (DOCS / "growth.json").write_text(json.dumps(growth, indent=1) + "\n")
    write_page()
    missed = [it for it in deviations(series) if it[1] != "wall_s" and it[2] > TOLERANCE]
    for phase, quantity, share in missed:
        say(f"FAILED: {phase}: {UNITS[quantity]} off the line by {share:.0%}")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
