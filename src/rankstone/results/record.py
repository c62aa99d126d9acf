"""The record of one (method, task, machine): all measurements, and the facts to repeat them.

`schema.json` in `results/` is generated from these classes. Sections can be read as attributes or
by key: ``record.measures["nDCG@10"].mean`` is ``record["measures"]["nDCG@10"]["mean"]``.
Unknown is null, never 0.
"""

from __future__ import annotations

import importlib
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from rankstone.specs import MethodSpec, TaskSpec

SCHEMA_VERSION = 7
Status = Literal["ok", "failed", "timeout", "oom"]
Role = Literal["query", "document", "pair"]
TRAINING: Final = "training split of this collection"
TrainedOn = Literal["none", "corpus", "training split of this collection", "other"]
UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories that no name holds: they move a terminal's cursor, or break a page."""


def printable(name: str) -> bool:
    """Return True if `name` holds no control characters, ends of lines or lone surrogates."""
    return not {unicodedata.category(character) for character in name} & UNPRINTABLE


def _printable(name: str) -> str:
    if not printable(name):
        raise ValueError("a name holds control characters or ends of lines")
    return name


def _beside(name: str) -> str:
    if name in (".", "..") or set("/\\") & set(_printable(name)):
        raise ValueError("not the name of a file beside the record")
    return name


Name = Annotated[str, AfterValidator(_printable)]
FileName = Annotated[str, AfterValidator(_beside)]
LONGEST_LABEL = 80
LARGEST = 1e30
"""Bound of figures: sums and ratios of them are finite."""
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0, le=LARGEST)]
Value = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Positive = Annotated[int, Field(gt=0, le=1_000_000)]
Rate = Annotated[float, Field(gt=0, le=1e9)]


class Section(BaseModel):
    """A frozen part of a record; its fields can also be read by key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __getitem__(self, key: str) -> Any:
        if key not in type(self).model_fields:
            raise KeyError(key)
        return getattr(self, key)


class TaskInfo(Section):
    """The task that was run."""

    name: Name
    digest: str
    """Digest of the task's definition."""
    dataset: Name
    split: Name
    source: str | None = None
    sha256: dict[str, str] = {}
    """Digests of corpus, queries and judgements."""
    n_documents: Count | None = None
    n_queries: Count | None = None
    n_judgements: Count | None = None
    n_unknown_documents: Count | None = None
    text: str
    """Template that turns a document into a string."""
    headline: Name

    @classmethod
    def of(
        cls, task: TaskSpec, facts: Mapping[str, Any] | None = None, *, text: str | None = None
    ) -> Self:
        """Return the section of `task`.

        Args:
            facts: Sizes and digests of its data (`Dataset.facts`); None if it was not opened.
            text: The template that was used, if a method has its own.
        """
        return cls(
            name=task.name,
            digest=task.digest(),
            dataset=task.dataset,
            split=task.split,
            text=task.text if text is None else text,
            headline=task.headline,
            **(facts or {}),
        )


class MethodInfo(Section):
    """The method that was run."""

    name: Name
    digest: str
    """Digest of the method's definition, members included."""
    adapter: Name
    parameters: dict[str, Any] = {}
    description: dict[str, Any] = {}
    """`describe()` of the runner: model id, revision, file hashes, prompts, max length ..."""
    trained_on: list[TrainedOn] = []
    """Data that it was trained on, as far as it is known; empty: unknown."""

    @classmethod
    def of(cls, method: MethodSpec, description: Mapping[str, Any] | None = None) -> Self:
        """Return the section of `method`, with the `description` of a runner that was built."""
        return cls(
            name=method.name,
            digest=method.digest(),
            adapter=method.adapter,
            parameters=method.parameters,
            description=dict(description or {}),
        )


INTERVALS = "95% score interval over queries, Wilson's by the effective number of queries"
"""The rule of `rankstone.evaluation.intervals`."""


class Policy(Section):
    """The rules by which the numbers were computed (docs: protocols of quality)."""

    depth: Count
    score_dtype: Literal["float32", "float64"] = "float32"
    ties: Literal["document id descending"] = "document id descending"
    missing_queries: Literal["score 0"] = "score 0"
    self_hits: Literal["keep", "drop"] = "keep"
    relevance: int = 1
    judge: Literal["judgements", "answers"] = "judgements"
    """`answers`: a passage is relevant if its text contains an answer, matched as in DPR."""
    ndcg_gain: Literal["label"] = "label"
    rules: Literal["rankstone", "mteb"] = "rankstone"
    """Conventions of the numbers: `mteb` for records imported from its results."""
    intervals: str = "95% percentile bootstrap over queries, 1000 resamples, seed 0"
    """Rule of the intervals of the means; the default is that of records up to schema 4."""

    @classmethod
    def of(cls, task: TaskSpec) -> Self:
        """Return the rules of `task`."""
        return cls(
            depth=task.depth, self_hits=task.self_hits, relevance=task.relevance, judge=task.judge,
            intervals=INTERVALS,
        )  # fmt: skip


class Measure(Section):
    """One measure over all judged queries of the split."""

    mean: Value
    low: Value | None = None
    """Lower end of the 95% interval over queries; null in imports of means alone."""
    high: Value | None = None
    best: Value | None = None
    """The mean if every tie were resolved in the best order; null for measures of the long tail."""
    worst: Value | None = None
    n: Count | None = None
    """Queries over which the mean is taken."""


class Unseen(Section):
    """Figures of a method that learnt from the training split, over queries none of whose relevant
    documents is relevant in that split."""

    queries: Count
    seen_judgements: Count
    """Relevant judgements of the test whose documents are relevant in training as well."""
    relevant_judgements: Count
    """Relevant judgements of the test."""
    measures: dict[Name, Measure] = {}


class Training(Section):
    """Training of a part of the method by its recipe (docs: definitions, "A recipe")."""

    part: Name
    checkpoint: str
    """Digest of the recipe, the start, the data, the libraries and the code."""
    loss_name: Name
    negatives: Name
    data: list[Name] = []
    """Tasks from whose training splits it learnt."""
    queries: Count
    """Training queries, without those held out."""
    pairs: Count
    held_out_queries: Count = 0
    dropped_queries: Count = 0
    """Training queries left out because of the test's queries or documents."""
    seen_documents: Count = 0
    """Documents that are relevant in the test and were relevant in training."""
    seed: int
    device: Name
    precision: Name
    steps: Count
    best_step: Count | None = None
    """Step whose weights were kept, by the loss on held-out queries; null: the last."""
    wall_s: Amount
    """Seconds of the training, those of killed runs up to their last checkpoint included."""
    cpu_s: Amount
    peak_rss_bytes: Count | None = None
    peak_gpu_bytes: Count | None = None
    loss: list[tuple[Count, Value]] = []
    """(step, mean training loss since the point before) each."""
    held_out: list[tuple[Count, Value]] = []
    """(step, loss on held-out queries) each."""
    resumed: bool = False
    """True if a killed run was taken up."""
    reused: bool = False
    """True if the weights were trained by an earlier run."""


class QuerySummary(Section):
    """Counts that explain the means."""

    n: Count
    n_missing: Count
    """Judged queries without any result; they score 0."""
    n_tied: Count
    """Queries with two equal scores somewhere in their results."""


class TruncationInfo(Section):
    """Truncation of one role's texts by the model's length limit."""

    texts: Count
    texts_cut: Count
    tokens: Count
    tokens_cut: Count


class Phase(Section):
    """Self time of a phase, exclusive of phases nested in it."""

    wall_s: Amount
    cpu_s: Amount | None = None
    items: Count = 0
    peak_rss_bytes: Count | None = None
    peak_gpu_bytes: Count | None = None
    """Peak of torch's tensors over all GPUs; null without a CUDA device."""
    gpu_utilisation: Amount | None = None
    """Mean share of time in which the GPU ran kernels, sampled; null if not known."""
    tokens: Count | None = None
    """Tokens read by models, with special tokens, without padding; null if not counted."""
    flops: Amount | None = None
    """Nominal floating-point operations on these tokens; a multiply-add counts as two."""
    billed_tokens: Count | None = None
    """Input tokens that the server of an API counted; null without one."""
    usd: Amount | None = None
    """Price of these tokens in US dollars; null where none is stated."""
    from_cache: Amount = 0.0
    """Share of items read from a cache, charged with the cost of the run that filled it."""


RANKS = {"p50_ms": 50, "p90_ms": 90, "p95_ms": 95, "p99_ms": 99}
"""Fields of percentiles, and their ranks."""
LEAST = {"p50_ms": 6, "p90_ms": 36, "p95_ms": 72, "p99_ms": 368}
"""Independent latencies from which the 95% interval of a percentile is finite: of p99 an upper end
exists where .99^n is at most .025."""
PARTS = ("encode", "search", "total")


class Percentiles(Section):
    """Milliseconds; null where the latencies are too few for a finite 95% interval."""

    p50_ms: Amount | None = None
    p90_ms: Amount | None = None
    p95_ms: Amount | None = None
    p99_ms: Amount | None = None
    max_ms: Amount
    mean_ms: Amount
    intervals: dict[Name, tuple[Amount, Amount]] = {}
    """95% interval of each percentile, by order statistics; empty in records before schema 5."""
    autocorrelation: Value | None = None
    """Lag-1 autocorrelation of the latencies in the order they were measured."""
    effective_n: Count | None = None
    """Independent latencies that they count as: n, unless the autocorrelation is large."""


class Latency(Section):
    """One query at a time, closed loop, after a warm-up."""

    encode: Percentiles
    search: Percentiles
    total: Percentiles
    n: Count
    queries: Count | None = None
    """Different queries among the n, which are asked in turn; null before schema 5."""
    warmup: Count
    threads: Count
    k: Count
    others_cores: Amount | None = None
    """Cores that other processes kept busy while queries were searched; null if not known."""


class IndexSize(Section):
    memory_bytes: Count | None = None
    """Memory that search keeps resident."""
    disk_bytes: Count | None = None
    bytes_per_document: Amount | None = None
    recall_10: Amount | None = None
    """Mean share of the 10 best of exact search over the same vectors among the first 10 results,
    over the first 1,024 queries; under a filter, of those that pass; null where the index seeks
    nothing of that kind."""


MOST_REQUESTS = 1_000_000
"""Bound on the requests of one trial."""


class LoadPlan(Section):
    """Trials of `rankstone load`."""

    rates: tuple[Rate, ...] = ()
    """Requests per second of the open loop, one trial each."""
    p99_ms: Rate | None = None
    """Bound within which the highest rate is searched for."""
    clients: tuple[Positive, ...] = ()
    """Clients of the closed loop, one trial each."""
    duration_s: Rate = 10.0
    """Time in which requests arrive, in each trial."""
    arrivals: Literal["poisson", "constant"] = "poisson"
    workers: Positive = 1
    """Threads that serve the open loop."""
    queue: Positive | None = None
    """Most requests that wait in the open loop; those that arrive beyond are dropped."""
    request_timeout_s: Rate = 10.0
    """Time limit of a request, from its arrival."""
    updates: Rate | None = None
    """Insertions and deletions per second, while searches arrive at the first of the rates."""

    @model_validator(mode="after")
    def _offers_something(self) -> Self:
        if not (self.rates or self.clients or self.p99_ms):
            raise ValueError("no load: give rates (--rate), a bound (--p99) or clients (--clients)")
        if self.updates is not None and (not self.rates or self.workers > 1):
            raise ValueError("updates need a rate of searches (--rate), and one worker")
        if self.p99_ms is not None and self.p99_ms >= self.request_timeout_s * 1e3:
            raise ValueError("the bound on p99 must lie below the time limit of a request")
        if max(*self.rates, self.updates or 0, 0) * self.duration_s > MOST_REQUESTS:
            raise ValueError(f"more than {MOST_REQUESTS:,} requests in a trial")
        return self


class LoadTrial(Section):
    """Requests at one rate, or of one number of clients.

    A request that was dropped, or not answered in time, counts with the time limit.
    """

    rate: Amount | None = None
    """Requests per second, offered; null in the closed loop."""
    clients: Count | None = None
    """Null in the open loop."""
    n: Count
    dropped: Count = 0
    timed_out: Count = 0
    wall_s: Amount
    """Seconds from the start to the last answer."""
    throughput: Amount
    """Requests answered in time per second of these."""
    latency: Percentiles
    """From the scheduled arrival to the answer; in the closed loop from the request."""
    service: Percentiles | None = None
    """From the start of the service to the answer; null if nothing was served."""
    queue_mean: Amount | None = None
    """Mean number of requests that an arriving one found waiting; null in the closed loop."""
    queue_max: Count | None = None
    over_bound: Count | None = None
    """Requests above `p99_ms`; null without one."""
    same: Amount | None = None
    """Share of the answers that are those of a single client, all documents in their order."""
    overlap: Amount | None = None
    """Mean share of the first 10 results that are among those of a single client."""
    headline: Value | None = None
    """Mean of the task's headline measure over the answered requests."""
    headline_single: Value | None = None
    """The same of a single client's answers to these requests."""


class HighestRate(Section):
    """The highest rate at which 99% of the requests stay within the bound."""

    rate: Amount | None = None
    """Highest rate at which most trials passed, and below which none of the rates failed."""
    low: Amount | None = None
    """Highest rate up to which every trial passed."""
    high: Amount | None = None
    """Lowest rate from which on every trial failed; null if none was found."""


class ColdStart(Section):
    """A new process that reads the index from disk, and asks some queries, then the same again."""

    ready_s: Amount
    """From its start to its first query: libraries and index are read, and models unless their
    first use loads them."""
    first_answer_s: Amount
    """From its start to its first answer."""
    n: Count
    """Queries."""
    first: Percentiles
    """Latency when they are asked first, the first answer included from its request."""
    steady: Percentiles
    """Latency when they are asked again."""
    same: Amount | None = None
    """Share of the answers that are those of the index before it was saved."""


class SearchesAmongUpdates(Section):
    """Searches of a part of a trial."""

    start_s: Amount = 0.0
    """From the start of the trial."""
    searches: Count
    updates: Count = 0
    """Insertions and deletions of that time."""
    latency: Percentiles
    """Of searches, from the scheduled arrival."""
    recall_10: Amount | None = None
    """Mean share of the 10 best of exact search over the documents live at each search that are
    among its first 10 results; null where exact search is not known."""
    stale: Count
    """Searches that returned a document deleted before."""


class Updates(Section):
    """Search while documents are inserted and deleted (`rankstone load --updates`)."""

    inserts: Count
    deletes: Count
    lost: Count
    """Updates that were dropped, or not begun within the time limit."""
    insert: Percentiles | None = None
    """From the start of an insertion to its end; null if there was none."""
    delete: Percentiles | None = None
    before: SearchesAmongUpdates
    meanwhile: list[SearchesAmongUpdates] = []
    """Parts of equal length."""
    compaction_s: Amount | None = None
    """Null where the engine has no compaction."""
    after: SearchesAmongUpdates
    """After compaction, or without one after the updates."""


class Load(Section):
    """Latency and throughput under load (`rankstone load`)."""

    plan: LoadPlan
    concurrency: Literal["threads"] = "threads"
    """Workers and clients are threads of the cell's process."""
    queries: Count
    """Different queries, which are asked in turn."""
    k: Count
    trials: list[LoadTrial] = []
    highest: HighestRate | None = None
    """Null without a bound."""
    cold: ColdStart | None = None
    """Null where the index cannot be saved and read."""
    updates: Updates | None = None
    """Null without updates."""


class Filter(Section):
    """Search under the filters of a task's queries."""

    how: Literal["native", "before", "after"]
    """By the engine, by selecting the passing documents and comparing them all, or by fetching more
    results and dropping those that do not pass."""
    predicate: Name | None = None
    """Null where queries have filters of their own."""
    selectivity: Amount
    """Mean share of the documents that pass, over the queries."""
    least: Amount
    most: Amount
    """The smallest and the largest share."""
    not_asked: Count
    """Queries without a judged document that passes: they are not asked."""
    without_relevant: Count
    """Queries whose judged documents that pass are all not relevant: they score 0."""


class Profile(Section):
    phases: dict[Name, Phase] = {}
    wall_s: Amount | None = None
    """Wall seconds of the cell's process, from its start to its end, trials under load included."""
    latency: Latency | None = None
    load: Load | None = None
    """Null where no load was offered."""
    index: IndexSize | None = None
    filter: Filter | None = None
    """Null where the task has no filter."""
    peak_rss_bytes: Count | None = None
    """Largest resident size of the process and its children during the phases and the measurement
    of latency; before schema 5, also while the results were written."""
    peak_flops_per_s: Amount | None = None
    """Peak rate of large matrix products at the encoder's precision, threads and device, measured
    during encoding; null if not counted, or if encodings came from another machine."""
    flop_utilisation: Amount | None = None
    """Model FLOP utilisation of encoding the documents: flops / seconds / peak."""

    @property
    def own_seconds(self) -> float:
        """Wall seconds of the phases of this run, without those read from a cache."""
        return sum(phase.wall_s for phase in self.phases.values() if not phase.from_cache)


class Forecast(Section):
    """Costs of a cell as they were expected before it ran (`rankstone plan`)."""

    seconds: Amount | None = None
    """Wall seconds of its process; null where they were not measured on a sample."""
    phases: dict[Name, Amount] = {}
    """The parts of these seconds."""
    peak_rss_bytes: Count | None = None
    index_bytes: Count | None = None
    """Memory that search keeps resident."""
    disk_bytes: Count | None = None
    """Bytes written: encodings to the cache, and an index, for a while, beside the results."""
    cache_bytes: Count | None = None
    """The encodings among them."""
    cached: Amount | None = None
    """Share of the encodings that were in the cache; null where none are stored."""
    billed_tokens: Count | None = None
    """Input tokens of requests to an API."""
    usd: Amount | None = None
    cores: Count | None = None
    gpu: bool = False
    documents: Count | None = None
    sampled: Count | None = None
    """Documents that were encoded for it; null where none were."""
    notes: list[str] = []
    """Figures that are missing, and why."""


class Planned(Section):
    """A cell of a plan."""

    method: Name
    task: Name
    state: Literal["runs", "stored", "does not fit", "fails"]
    """stored: its results are there and are reused."""
    forecast: Forecast = Forecast()
    faults: list[str] = []
    """Reasons why it would not run, or fail."""


class Environment(Section):
    """The machine and the software."""

    machine: Name
    """Fingerprint; speeds are compared only between equal ones."""
    cpu: str | None = None
    cores: Count | None = None
    affinity: list[int] | None = None
    ram_bytes: Count | None = None
    gpu: str | None = None
    device: str | None = None
    """Device given to methods that state none: cpu, cuda, cuda:N or mps; null before schema 6."""
    driver: str | None = None
    os: str | None = None
    python: str | None = None
    packages: dict[str, str] = {}
    blas: list[dict[str, Any]] = []
    threads: Count | None = None
    seed: int | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None
    command: list[str] = []


class Measured(Section):
    """Measurements of a cell's process, handed over to the process that stores the record."""

    task: TaskInfo
    method: MethodInfo
    environment: Environment
    measures: dict[Name, Measure] = {}
    unseen: Unseen | None = None
    training: list[Training] = []
    queries: QuerySummary | None = None
    truncation: dict[Role, TruncationInfo] = {}
    profile: Profile = Profile()
    cache_keys: list[str] = []
    resumed: bool = False
    warnings: list[str] = []


class Provenance(Section):
    started: str
    """ISO 8601, UTC."""
    finished: str
    cache_keys: list[str] = []
    """Keys of cached encodings that were read or written."""
    resumed: bool = False
    """Some shards had been encoded by an earlier, unfinished run."""


class Files(Section):
    """Files beside the record, by name, with their sha256."""

    run: FileName | None = None
    """TREC run, zstd."""
    run_sha256: str | None = None
    per_query: FileName | None = None
    """Parquet: `query`, then one column per measure."""
    per_query_sha256: str | None = None
    latency: FileName | None = None
    """Parquet: `encode_ms`, `search_ms`, one row per timed query."""
    latency_sha256: str | None = None
    load: FileName | None = None
    """Parquet: one row per request under load, as in `rankstone.results.per_query.RawLoad`."""
    load_sha256: str | None = None

    @model_validator(mode="after")
    def _have_digests(self) -> Self:
        for kind in ("run", "per_query", "latency", "load"):
            if (self[kind] is None) != (self[f"{kind}_sha256"] is None):
                raise ValueError(f"'{kind}' needs both a name and a sha256")
        return self


class ErrorInfo(Section):
    kind: str
    message: str
    traceback: str | None = None


class RunRecord(Section):
    """One cell's record."""

    schema_version: int = SCHEMA_VERSION
    status: Status
    error: ErrorInfo | None = None
    key: str
    """Digest of all that can change the numbers (definitions, data, model files, code, libraries,
    seed, threads); results with a matching key are reused."""
    task: TaskInfo
    method: MethodInfo
    policy: Policy
    measures: dict[Name, Measure] = {}
    unseen: Unseen | None = None
    """Null where the method learnt nothing from training, or that shares no relevant document."""
    training: list[Training] = []
    """Parts that were trained by a recipe."""
    queries: QuerySummary | None = None
    truncation: dict[Role, TruncationInfo] = {}
    """`pair`: truncation of (query, document) pairs that a scorer reads as one text."""
    profile: Profile | None = None
    forecast: Forecast | None = None
    """Null where none was made: small cells run at once. The outcome is in `profile`."""
    environment: Environment
    provenance: Provenance
    files: Files = Files()
    warnings: list[str] = []
    label: Annotated[Name, Field(min_length=1, max_length=LONGEST_LABEL)] | None = None
    """Name that boards show for the method of this record (`rankstone records label`). No figure
    depends on it: it is outside the digest, and another measurement has none."""

    def __repr__(self) -> str:
        name = self.task.headline if self.headline else next(iter(self.measures), "")
        value = f", {name} {self.measures[name].mean:.3f}" if name else ""
        return f"<{self.method.name} on {self.task.name}: {self.status}{value}>"

    def _repr_html_(self) -> str:
        """Return the record as a notebook shows it, drawn by the room that draws records."""
        drawn = importlib.import_module("rankstone.leaderboards.shown").record_html(self)
        return str(drawn)

    @property
    def headline(self) -> Measure | None:
        """The task's headline measure; None where it was not measured."""
        return self.measures.get(self.task.headline)

    @property
    def is_trained(self) -> bool:
        """True if it is known to have learnt from the training split of the collection."""
        return TRAINING in self.method.trained_on

    def identity(self) -> dict[str, Any]:
        """Return facts that identify the run, stored with conclusions from it."""
        return {
            "status": self.status,
            "method": self.method.digest,
            "run": self.files.run_sha256,
            "machine": self.environment.machine,
            "commit": self.environment.git_commit,
            "finished": self.provenance.finished,
        }

    def failure(self) -> str:
        """Return the reason of the failure in one line."""
        return (self.error.message if self.error else self.status).strip().partition("\n")[0]


def now() -> str:
    """Return the time in ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
