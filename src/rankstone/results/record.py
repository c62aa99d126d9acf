"""The record of one (method, task, machine): all measurements, and the facts to repeat them.

`schema.json` in `results/` is generated from these classes. Sections can be read as attributes or
by key: ``record.measures["nDCG@10"].mean`` is ``record["measures"]["nDCG@10"]["mean"]``.
Unknown is null, never 0. Sections of costs are in `sections/`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from rankstone.results.sections.fields import Amount, Count, FileName, Name, Section, Value
from rankstone.results.sections.fields import printable as printable
from rankstone.results.sections.latency import LEAST as LEAST
from rankstone.results.sections.latency import PARTS as PARTS
from rankstone.results.sections.latency import RANKS as RANKS
from rankstone.results.sections.latency import Latency as Latency
from rankstone.results.sections.latency import Percentiles as Percentiles
from rankstone.results.sections.load import MOST_REQUESTS as MOST_REQUESTS
from rankstone.results.sections.load import ColdStart as ColdStart
from rankstone.results.sections.load import HighestRate as HighestRate
from rankstone.results.sections.load import Load as Load
from rankstone.results.sections.load import LoadPlan as LoadPlan
from rankstone.results.sections.load import LoadTrial as LoadTrial
from rankstone.results.sections.load import SearchesAmongUpdates as SearchesAmongUpdates
from rankstone.results.sections.load import Updates as Updates
from rankstone.results.sections.profile import Filter as Filter
from rankstone.results.sections.profile import Forecast as Forecast
from rankstone.results.sections.profile import IndexSize as IndexSize
from rankstone.results.sections.profile import Phase as Phase
from rankstone.results.sections.profile import Planned as Planned
from rankstone.results.sections.profile import Profile as Profile
from rankstone.specs import MethodSpec, TaskSpec

SCHEMA_VERSION = 7
Status = Literal["ok", "failed", "timeout", "oom"]
Role = Literal["query", "document", "pair"]
TRAINING: Final = "training split of this collection"
TrainedOn = Literal["none", "corpus", "training split of this collection", "other"]
LONGEST_LABEL = 80


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
            facts: sizes and digests of its data (`Dataset.facts`); None if it was not opened.
            text: the template that was used, if a method has its own.
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
    """Training data of the method, as far as it is known; empty: unknown."""

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
    """Rule of the intervals of the means; the default is the rule of records up to schema 4."""

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
    """The mean with all ties in the best order; null for measures outside the core."""
    worst: Value | None = None
    n: Count | None = None
    """Number of queries in the mean."""


class Unseen(Section):
    """Figures of a method that was trained on the training split, over the queries without a
    relevant document that is also relevant in this split."""

    queries: Count
    seen_judgements: Count
    """Number of relevant test judgements whose documents are also relevant in training."""
    relevant_judgements: Count
    """Number of relevant test judgements."""
    measures: dict[Name, Measure] = {}


class Training(Section):
    """Training of a part of the method by its recipe (docs: definitions, "A recipe")."""

    part: Name
    checkpoint: str
    """Digest of the recipe, the start, the data, the libraries and the code."""
    loss_name: Name
    negatives: Name
    data: list[Name] = []
    """Tasks whose training splits were the training data."""
    queries: Count
    """Number of training queries, without those held out."""
    pairs: Count
    held_out_queries: Count = 0
    dropped_queries: Count = 0
    """Number of training queries left out because of test queries or documents."""
    seen_documents: Count = 0
    """Number of documents that are relevant in both training and test."""
    seed: int
    device: Name
    precision: Name
    steps: Count
    best_step: Count | None = None
    """Step whose weights were kept, by the loss on held-out queries; null: the last."""
    wall_s: Amount
    """Seconds of the training, including those of killed runs up to their last checkpoint."""
    cpu_s: Amount
    peak_rss_bytes: Count | None = None
    peak_gpu_bytes: Count | None = None
    loss: list[tuple[Count, Value]] = []
    """Points (step, mean training loss since the previous point)."""
    held_out: list[tuple[Count, Value]] = []
    """Points (step, loss on held-out queries)."""
    resumed: bool = False
    """True if a killed training was continued."""
    reused: bool = False
    """True if the weights were trained by an earlier run."""


class QuerySummary(Section):
    """Counts that explain the means."""

    n: Count
    n_missing: Count
    """Number of judged queries without any result; they score 0."""
    n_tied: Count
    """Number of queries with two equal scores in their results."""


class TruncationInfo(Section):
    """Truncation of one role's texts by the model's length limit."""

    texts: Count
    texts_cut: Count
    tokens: Count
    tokens_cut: Count


class Environment(Section):
    """The machine and the software."""

    machine: Name
    """Fingerprint of the machine; speeds are compared only between equal fingerprints."""
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
    """True if some shards were encoded by an earlier, unfinished run."""


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
    """Null if the method was not trained on the training split, or if training and test have no
    common relevant document."""
    training: list[Training] = []
    """Parts that were trained by a recipe."""
    queries: QuerySummary | None = None
    truncation: dict[Role, TruncationInfo] = {}
    """`pair`: truncation of (query, document) pairs that a scorer reads as one text."""
    profile: Profile | None = None
    forecast: Forecast | None = None
    """Null if no forecast was made, as for small cells. The measured costs are in `profile`."""
    environment: Environment
    provenance: Provenance
    files: Files = Files()
    warnings: list[str] = []
    label: Annotated[Name, Field(min_length=1, max_length=LONGEST_LABEL)] | None = None
    """Name that boards show instead of the method's name (`rankstone records label`). It is not
    part of the digest, and is lost if the cell is measured again."""

    def __repr__(self) -> str:
        name = self.task.headline if self.headline else next(iter(self.measures), "")
        value = f", {name} {self.measures[name].mean:.3f}" if name else ""
        return f"<{self.method.name} on {self.task.name}: {self.status}{value}>"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """Return the HTML view of the record for a notebook."""
        drawn = importlib.import_module("rankstone.leaderboards.shown").record_html(self)
        return str(drawn)

    @property
    def headline(self) -> Measure | None:
        """The task's headline measure; None if it was not measured."""
        return self.measures.get(self.task.headline)

    @property
    def latency(self) -> Latency | None:
        """The profile's latency; None if it was not measured."""
        return self.profile.latency if self.profile else None

    @property
    def load(self) -> Load | None:
        """The profile's trials under load; None if there are none."""
        return self.profile.load if self.profile else None

    @property
    def phases(self) -> Mapping[str, Phase]:
        """The profile's phases by name; empty if nothing was timed."""
        return self.profile.phases if self.profile else {}

    @property
    def is_trained(self) -> bool:
        """True if the method is known to be trained on the training split of the collection."""
        return TRAINING in self.method.trained_on

    def identity(self) -> dict[str, Any]:
        """Return facts that identify the run; they are stored with conclusions from the run."""
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
