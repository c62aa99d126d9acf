"""The text of scale.md, made of a model, its measurements and assumptions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace

from docs import scale_model as scale
from docs.scale_model import GB, HOUR, LAWS, MEANING, SIZES, TB, Assumed, Measurement, Model, Need
from docs.scale_simulation import efficiency

ACTORS = (8, 32, 128, 512)


def page(given: Assumed, measured: Sequence[Measurement]) -> str:
    model = Model.of(measured)
    parts = [INTRODUCTION, _sizes(model, given), _one_driver(model, given)]
    parts += [_design(model, given), _search(model, given), _prices(given)]
    parts += [_measured(model, measured), _actors(model, given, measured), _assumptions(given)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


INTRODUCTION = """
# Scale

<!-- written by docs/scale_model.py; its text is in docs/scale_page.py -->

What would a collection of a billion passages need, and which limit does one driver exceed first?
This page answers with a cost model: laws, whose coefficients are measured on one small machine, and
a simulation of a driver with actors. Both are applied to MS MARCO (8.8 million passages), MS MARCO
v2 (138 million), a billion and ten billion. The *driver* is the process that runs a command with
`--ray`; *actors* encode ([On a cluster](cluster.md)). The results come first, then the laws, the
simulation and the assumptions.

`python docs/scale_model.py` writes this page from `docs/scale_measurements.json`. With options for
other machines and prices, such as `--gpu-documents-s 800 --gpu-usd-hour 1.5`, the command prints
the page instead.
"""


NOT_MEASURED = """
The simulation is checked against closed forms of queueing theory (`tests/golden/test_scale.py`). It
has not been compared with the efficiencies that `tests/speed/bench_ray.py` measures yet.
""".strip()


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figure(value: float) -> str:
    """Three significant digits, with thousands separated."""
    if value == int(value) and abs(value) < 1000:
        return str(int(value))
    if abs(value) >= 100:
        digits = max(len(str(int(abs(value)))) - 3, 0)
        return f"{round(value, -digits):,.0f}"
    return f"{value:#.3g}".rstrip(".")


def _measured(model: Model, measured: Sequence[Measurement]) -> str:
    rows = [
        (
            LAWS[one.name][0],
            ", ".join(f"{figure(value)} {name}" for name, value in one.at.items()),
            figure(one.value),
            figure(model.value(one.name, **one.at)),
            "fixes the law"
            if one.calibrates
            else f"{model.value(one.name, **one.at) / one.value:.2f}",
        )
        for one in measured
        if one.name in LAWS
    ]
    laws = [(title, law) for title, law, _ in LAWS.values()]
    commands = dict.fromkeys(one.command for one in measured)
    return f"""
## Measurements and laws

Seconds are those of one core of an AMD EPYC, without the time in which other processes used the
core. Each coefficient of a law is computed from the measurements marked *fixes the law*; the other
measurements check the law.

{table(("quantity", "law"), laws)}

{table(("quantity", "at", "measured", "law", "law / measured"), rows)}

Measured by {", ".join(f"`{command}`" for command in commands)}.
"""


def _actors(model: Model, given: Assumed, measured: Sequence[Measurement]) -> str:
    checks = [one for one in measured if one.name == "ray_efficiency"]
    rows = []
    for one in checks:
        found = model.value(one.name, **one.at)
        rows.append(
            (f"{one.at['actors']:.0f}", f"{one.at['actor_s']:g}", f"{one.value:.3f}",
             f"{found:.3f}", f"{found - one.value:+.3f}")
        )  # fmt: skip
    checked = NOT_MEASURED
    if rows:
        head = ("actors", "s per shard", "measured", "simulated", "difference")
        checked = f"With actors that sleep (`tests/speed/bench_ray.py`):\n\n{table(head, rows)}"
    kinds = {
        "a GPU's encoder": (scale.SHARD / given.gpu_documents_s, given.dim * given.value_bytes),
        "a GPU's encoder, vectors in 16 bits": (scale.SHARD / given.gpu_documents_s, given.dim * 2),
        "static vectors, one core": (
            model.value("static_encode_s", documents=scale.SHARD), 256 * 4.0
        ),
    }  # fmt: skip
    bounds = []
    for name, (actor_s, up) in kinds.items():
        for gbit in (1.0, given.network_gbit_s):
            cluster = replace(
                model.cluster({"actors": 1, "actor_s": actor_s}),
                down_bytes=scale.SHARD * given.text_bytes, up_bytes=scale.SHARD * up,
                bytes_per_s=gbit * GB / 8,
            )  # fmt: skip
            shares = [efficiency(replace(cluster, actors=n), 10 * n) for n in ACTORS]
            bounds.append(
                (
                    name,
                    f"{gbit:g}",
                    *(f"{share:.2f}" for share in shares),
                    f"{cluster.most_actors:.0f}",
                )
            )
    head = ("encoder", "Gbit/s", *(f"{n} actors" for n in ACTORS), "bound")
    return f"""
## Driver and actors

The driver reads a shard of {scale.SHARD:,} texts and sends it to an actor. It receives the vectors,
checks them and writes them. `docs/scale_simulation.py` simulates this process event by event. The
driver has one processor, which takes {figure(1e3 * model.driver_s)} ms for a shard, and one network
line in each direction. Each actor holds two shards. Efficiency is the share of the actors' time in
which they encode.

{checked}

The table shows simulated efficiencies, with texts and vectors sent over the network. *Bound* is the
number of actors that the busiest part of the driver can keep at work.

{table(head, bounds)}
"""


def _columns(cell: Callable[[int], Sequence[str]], names: Sequence[str]) -> str:
    """One row for each name, one column for each size."""
    found = [cell(n) for n in SIZES.values()]
    return table(
        ("", *(f"{name}: {figure(n)}" for name, n in SIZES.items())),
        ((name, *(column[row] for column in found)) for row, name in enumerate(names)),
    )


def _sizes(model: Model, given: Assumed) -> str:
    def cell(n: int) -> list[str]:
        hours = n / given.gpu_documents_s / HOUR
        build = model.value("bm25_build_s", documents=n) / given.node_cores / HOUR
        return [
            figure(n * given.text_bytes / TB),
            *(figure(n * given.dim * width / TB) for width in (4, 2, 1)),
            figure(model.value("bm25_index_bytes", documents=n) / TB),
            figure(n / scale.SHARD),
            figure(hours),
            str(scale.gpus(n, given)),
            figure(build),
        ]

    names = (
        "texts, TB",
        f"{given.dim:.0f} dimensions in float32, TB",
        "in float16, TB",
        "in int8, TB",
        "BM25 index, TB",
        f"shards of {scale.SHARD:,}",
        "GPU hours to encode",
        f"GPUs, to encode within {given.encode_hours:g} hours",
        f"BM25 build, hours on a node with {given.node_cores:.0f} cores",
    )
    return f"## Larger collections\n\n{_columns(cell, names)}"


def _shares(needs: Callable[[int], list[Need]]) -> str:
    names = [
        f"{need.name} (limit {figure(need.limit)} {need.unit})"
        for need in needs(next(iter(SIZES.values())))
    ]

    def cell(n: int) -> list[str]:
        found = needs(n)
        marks = ["**{}**" if need.share > 1 else "{}" for need in found]
        texts = [
            mark.format(f"{figure(need.amount)} ({figure(need.share)})")
            for mark, need in zip(marks, found, strict=True)
        ]
        return [*texts, scale.first_to_break(found)]

    return _columns(cell, [*names, "most exceeded"])


def _breaks(model: Model, given: Assumed) -> str:
    """Return the limits that are exceeded at each size, in descending order."""
    lines = []
    for name, n in SIZES.items():
        needs = scale.needs_of_one_driver(n, model, given)
        worst = sorted((need for need in needs if need.share > 1), key=lambda need: -need.share)
        if worst:
            parts = ", ".join(f"{need.name} ({figure(need.share)} times)" for need in worst)
            lines.append(f"* {name}: {parts}")
    return (
        "\n".join(["Exceeded limits, in descending order:", "", *lines])
        if lines
        else "No limit is exceeded."
    )


def _one_driver(model: Model, given: Assumed) -> str:
    shares = _shares(lambda n: scale.needs_of_one_driver(n, model, given))
    return f"""
## One driver: which limit is exceeded first

All texts and vectors pass through one driver, which writes all shards. Each cell of the table has
the amount that is needed and, in parentheses, its share of the limit. A share above 1 (in bold)
exceeds the limit.

{shares}

{_breaks(model, given)}
"""


def _nodes(given: Assumed) -> int:
    return scale.slices(10**10 * given.dim * given.stored_value_bytes, given)


def _design(model: Model, given: Assumed) -> str:
    shares = _shares(lambda n: scale.needs_of_the_design(n, model, given))
    return f"""
## A design for larger collections

* Actors read texts from shared storage and write vectors to it. The driver sends positions and
  receives a key, a checksum and costs. The size of these messages does not depend on texts or
  vectors.
* A stored object holds {given.object_documents:,.0f} documents and a checksum for each of its
  shards of {scale.SHARD:,}. Therefore a killed actor still loses only one shard, and opening the
  corpus reads only one footer for each object.
* Each value of a vector is stored in {given.stored_value_bytes:g} byte. Each node searches the
  slices that it holds. Document ids stay with their slice; only the ids of results are sent.
* Results are merged in a tree, whose nodes merge {given.fan_in:.0f} lists each.

{shares}

Only the number of nodes still grows with the corpus: ten billion passages need {_nodes(given)}
nodes, or {_nodes(replace(given, stored_value_bytes=0.25))} nodes with codes of 2 bits per value.
"""


def _search(model: Model, given: Assumed) -> str:
    def cell(n: int) -> list[str]:
        stored = n * given.dim * given.stored_value_bytes
        parts = scale.slices(stored, given)
        each = n / parts
        one = model.value(
            "exact_query_s", documents=each, dim=given.dim * given.stored_value_bytes / 4
        )
        batch = model.value("exact_batch_s", documents=each, dim=given.dim, queries=given.queries)
        words = model.value("bm25_query_s", documents=each)
        return [
            str(parts),
            figure(one / given.node_cores),
            figure(batch / given.node_cores / 60),
            figure(words),
        ]

    names = (
        "slices, one per node",
        "exact search, one query, s",
        f"exact search, {given.queries:,.0f} queries, minutes",
        "BM25, one query on one core, s",
    )
    return f"""
## Search in slices

All slices are searched at the same time. The table shows the time for one slice by the laws below,
which are for float32. {given.node_cores:.0f} cores are assumed to be {given.node_cores:.0f} times
as fast as one core. This is true for matrix products; it is true for single queries unless memory
bandwidth is the limit.

{_columns(cell, names)}
"""


def _prices(given: Assumed) -> str:
    def cell(n: int) -> list[str]:
        parts = scale.slices(n * given.dim * given.stored_value_bytes, given)
        stored = n * (given.dim * given.stored_value_bytes + given.text_bytes) / TB
        return [
            figure(n / given.gpu_documents_s / HOUR * given.gpu_usd_hour),
            figure(parts * given.node_usd_hour),
            figure(stored * given.storage_usd_tb_month),
        ]

    names = ("encoding, US dollars", "search, US dollars per hour", "storage, US dollars per month")
    return f"""
## Prices

**These prices are an example, not a quotation**: ${given.gpu_usd_hour:g} per hour for a GPU,
${given.node_usd_hour:g} per hour for a node, and ${given.storage_usd_tb_month:g} per month for a
TB. State your own prices with `--gpu-usd-hour`, `--node-usd-hour` and `--storage-usd-tb-month`.

{_columns(cell, names)}
"""


def _assumptions(given: Assumed) -> str:
    rows = [
        (
            MEANING[field.name],
            f"{getattr(given, field.name):,.10g}",
            f"`--{field.name.replace('_', '-')}`",
        )
        for field in fields(given)
    ]
    return f"""
## Assumptions

These values are assumed, not measured.

{table(("assumption", "value", "option"), rows)}
"""
