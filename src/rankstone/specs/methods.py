"""Specs of methods: `runners/**/*.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from rankstone.errors import DefinitionError
from rankstone.specs.tasks import TaskSpec
from rankstone.specs.values import REGISTERED, Values
from rankstone.strict import Spec

MODELS = ("model", "query_model", "lora", "query_lora")
"""Keys of a definition that name the files of a model."""
INSTRUCTION = "{instruction}"
"""Placeholder in a method's prompts; it is replaced by the instruction of the task."""
DEFAULT, EVERY = "default", "*"
"""Keys of instructions: for tasks without an instruction, and for every task."""
OWN = "own"
"""Name, in a recipe, of the task that is run."""
Instruction = str | dict[Literal["query", "document"], str]
"""Words for both roles, or for each."""


class Archive(Spec):
    """A zip file split over packages, unpacked once into the cache: `[model.archive]`."""

    pieces: tuple[str, ...] = Field(min_length=1)
    """Files of importable packages, `package/file`, in the order in which they are joined."""
    sha256: str
    """Digest of the joined pieces."""
    folder: str = ""
    """The folder inside the zip that holds the model."""


class ModelSpec(Spec):
    """Source of a model's weights: explicit path, package, hub cache, hub, in this order."""

    id: str
    """The hub's name of the model; for a model that only a package contains, a plain name."""
    revision: str | None = None
    """Commit of the hub's repository."""
    path: str | None = None
    """A folder; `~` and environment variables are expanded."""
    package: str | None = None
    """An importable package with the files, and the folder inside it: `package/folder`."""
    archive: Archive | None = None
    """Packages that together contain the files, if one package would be too large."""
    folder: str = ""
    """The folder inside the repository, package or path that holds this model."""
    files: tuple[str, ...] = ()
    """Names of further weights that the method needs beside `*.safetensors` or `*.bin`."""
    sha256: dict[str, str] = Field(default_factory=dict)
    """File name inside the model's folder -> expected sha256."""
    obtain: str = ""
    """How to obtain a model that neither a package nor the hub has; shown in the error."""
    random: Values = Field(default={})
    """Configuration of a network of transformers (`model_type` and its sizes) that gets random
    weights and reads bytes: for time and memory, which do not depend on the weights' values."""

    DOCUMENTATION: ClassVar[frozenset[str]] = frozenset({"obtain", "archive"})
    LATER: ClassVar[frozenset[str]] = frozenset({"folder", "files", "random"})

    def _digested(self) -> dict[str, Any]:
        """Leave out the location of the files: their content is in the cell's key and in the
        name."""
        return {**super()._digested(), "path": None}


class Recipe(Spec):
    """Training of a model before it is measured: the table `[training]` beside `[model]`.

    Training starts from the model of the definition. A model is trained once for all tasks with
    the same training data.
    """

    DOCUMENTATION: ClassVar[frozenset[str]] = frozenset({"save_every"})
    LATER: ClassVar[frozenset[str]] = frozenset({"in_batch_teacher", "pooled", "rounds"})
    TEACHERS: ClassVar[tuple[str, ...]] = ("teacher", "in_batch_teacher")

    data: tuple[str | TaskSpec, ...] = Field(min_length=1)
    """Tasks whose training splits are the training data; named in the TOML, resolved on reading.
    `own` is the task that is run."""
    loss: str
    """Name of a loss in `rankstone.training.losses`."""
    options: Values = Field(default_factory=dict)
    """Arguments of the loss. The argument `loss` is the loss that this one modifies: a name, or a
    table with `name` and arguments."""
    negatives: Literal["batch", "random", "bm25", "start", "student"] = "batch"
    """Negatives of each pair beside the documents of its batch: none; random documents; or random
    ones of the `depth` best of BM25 or of the initial model, or, in a teacher's recipe, of the
    student."""
    per_pair: int = Field(default=1, ge=1)
    """Number of negatives of each pair."""
    depth: int = Field(default=100, ge=1)
    """Number of results from which negatives are drawn."""
    pool: int = Field(default=1, ge=1)
    """Number of rows of each pair, each with its own negatives, from which samplers choose."""
    first: Recipe | None = None
    """Recipe that is run first, such as pre-training; this training starts from its weights."""
    teacher: str | MethodSpec | None = None
    """Method whose scores a distillation loss uses; named in the TOML, resolved on reading. A
    teacher with a recipe is trained first."""
    in_batch_teacher: str | MethodSpec | None = None
    """Method that scores every query of a batch with every document of the batch
    (`dual_teacher`)."""
    rounds: int = Field(default=1, ge=1)
    """Number of rounds in which the teacher, by its own recipe, and this model are trained in turn.
    In each round both continue from their weights for `steps` steps (AR2)."""
    steps: int = Field(ge=1)
    batch: int = Field(default=32, ge=1)
    """Number of pairs in a batch, one batch per step."""
    sampler: str = "random"
    """Rule that chooses the pairs of a batch: a name of `rankstone.training.samplers`."""
    topics: int = Field(default=100, ge=1)
    """Number of clusters of the training queries' vectors (by the initial model), for samplers by
    topics."""
    learning_rate: float = Field(default=2e-5, gt=0)
    schedule: str = "linear"
    """Schedule of the learning rate after the warm-up, by its name in transformers."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = Field(default=0.0, ge=0)
    seed: int = Field(default=0, ge=0)
    start: Literal["weights", "random"] = "weights"
    """`random`: the architecture of the model with new weights."""
    layers: int | None = Field(default=None, ge=1)
    """Number of first layers of the initial model to keep."""
    held_out: float = Field(default=0.0, ge=0, lt=1)
    """Share of the training queries on which the loss is evaluated; the best weights are kept."""
    check_every: int = Field(default=100, ge=1)
    """Steps between evaluations on held-out queries."""
    patience: int | None = Field(default=None, ge=1)
    """Number of evaluations without an improvement after which training stops."""
    save_every: int = Field(default=500, ge=1)
    """Steps between checkpoints: a killed run loses at most this many. The weights do not depend on
    this number."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Precision of the network on a GPU; the weights and the optimiser stay float32."""
    device: str | None = None
    """A torch device; None: the device of `--device`, else the best available one."""
    repeated_queries: Literal["refuse", "drop"] = "refuse"
    """Treatment of training data that contains test queries."""
    pooled: int | None = Field(default=None, ge=1)
    """Depth of a simulated pool: only relevant documents among BM25's best `pooled` documents count
    as judged; other relevant documents may become negatives. Simulates pooling bias."""
    documents: Literal["any", "disjoint"] = "any"
    """`disjoint` leaves out training queries with a relevant document that is also relevant to a
    test query."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.patience is not None and not self.held_out:
            raise ValueError("'patience' needs held-out queries: state 'held_out'")
        if self.rounds > 1 and self.teacher is None:
            raise ValueError("'rounds' alternate with a teacher: state 'teacher'")
        return self

    @property
    def teachers(self) -> dict[str, MethodSpec]:
        """Teachers by the key that names them, as resolved."""
        found = {key: getattr(self, key) for key in self.TEACHERS}
        return {key: one for key, one in found.items() if isinstance(one, MethodSpec)}


class AdapterSpec(Spec):
    """An adapter and its arguments."""

    LATER: ClassVar[frozenset[str]] = frozenset(
        {"query_model", "lora", "query_lora", "scorer", "text", "training"}
    )

    adapter: str = Field(pattern=REGISTERED)
    """A short name (`rankstone.registry`), or `module:Class`."""
    parameters: Values = Field(default_factory=dict)
    """Arguments of the adapter."""
    model: ModelSpec | None = None
    """Weights of the adapter."""
    query_model: ModelSpec | None = None
    """The query encoder, if queries have a separate checkpoint."""
    lora: ModelSpec | None = None
    """A low-rank adapter of `model`, in PEFT's layout, for both roles or only for documents."""
    query_lora: ModelSpec | None = None
    """The low-rank adapter for queries, if they have a separate one."""
    training: Recipe | None = None
    """Training of the model before it is measured."""
    members: tuple[MethodSpec, ...] = ()
    """Members of a composite method; named in the TOML, resolved on reading."""

    @property
    def models(self) -> dict[str, ModelSpec]:
        """Models by the key that names them."""
        found = {key: getattr(self, key) for key in MODELS}
        return {key: model for key, model in found.items() if model is not None}


class ScorerSpec(AdapterSpec):
    """Scorer of the candidates of a two-stage method: the table `[scorer]` of its TOML."""


class MethodSpec(AdapterSpec):
    """One retrieval method: the content of `runners/<family>/<name>.toml`."""

    DOCUMENTATION: ClassVar[frozenset[str]] = frozenset(
        {"description", "citation", "licence", "published", "weights", "stated_in", "trained_on"}
    )
    LATER: ClassVar[frozenset[str]] = AdapterSpec.LATER | {"on", "instructions"}

    name: str
    """`<family>/<stem>`, from the path of the file."""
    description: str
    """One sentence for lists of methods."""
    scorer: ScorerSpec | None = None
    """Scorer of the candidates of a two-stage method."""
    text: str | None = None
    """Template of a document's text for this method, instead of the task's template. In
    `{title: [SEP] }{text}`, ` [SEP] ` is left out if the title is empty."""
    on: dict[str, dict[str, Any]] = Field(default={})
    """Parameters that replace those above on a task, a suite, or a family (`beir/*`), such as the
    lengths and instructions of published results on a benchmark."""
    instructions: dict[str, Instruction] = Field(default={})
    """Instructions that replace `{instruction}` in the prompts, also in those of the scorer, by the
    keys of `on`. `default` is for tasks without an instruction in this table or in their
    definition; `*` overrides the instructions of tasks."""
    citation: str = ""
    """Authors, venue, year, and where to read it."""
    licence: str = ""
    """Licence of the weights: an SPDX name, or the name that the owners use."""
    published: str | None = None
    """Name of this method in `leaderboards/published.csv`; None: its own name."""
    trained_on: tuple[str, ...] | None = None
    """Collections on which the weights were trained, as parts of the names of data sets
    (`msmarco`); None: not known."""
    weights: Literal["public", "unavailable"] = "public"
    """`unavailable`: the weights were never released, so the method needs a path to weights."""

    stated_in: str = ""
    """The file that was read, or the form that was given; not a key of the file."""

    @property
    def file(self) -> str:
        """The definition's file, for messages."""
        return self.stated_in or f"runners/{self.name.partition('+')[0]}.toml"

    @property
    def varies(self) -> bool:
        """True if this method, or one of its members, depends on the task."""
        inner = (*self.members, *(self.scorer.members if self.scorer else ()))
        return bool(self.on or self.instructions) or any(member.varies for member in inner)

    def on_task(self, task: str, instruction: str = "") -> Self:
        """Return this method, with its members, as it runs on `task`: `on` and `instructions` are
        applied and then empty.

        Args:
            instruction: the instruction of the task, which precedes the method's default.
        """
        whole = task.partition("@")[0]
        own = self.instructions
        words = own.get(whole) or own.get(EVERY) or instruction or own.get(DEFAULT)
        scorer = self.scorer
        if scorer is not None:
            inner = tuple(member.on_task(task, instruction) for member in scorer.members)
            filled = self._instructed(scorer.parameters, words)
            scorer = scorer.model_copy(update={"members": inner, "parameters": filled})
        parameters = {**self.parameters, **self.on.get(whole, {})}
        changed = {
            "parameters": self._instructed(parameters, words),
            "members": tuple(member.on_task(task, instruction) for member in self.members),
            "scorer": scorer,
            "on": {},
            "instructions": {},
        }
        return self.model_copy(update=changed)

    def _instructed(self, parameters: dict[str, Any], words: Instruction | None) -> dict[str, Any]:
        """Return `parameters` with the words of an instruction."""
        if not words and INSTRUCTION in str(parameters):
            raise DefinitionError(
                f"{self.file}: the prompts hold {INSTRUCTION}, and no instruction is stated. Add"
                f" [instructions] with the key '{DEFAULT}', or --set instruction=WORDS."
            )
        by_role = words if isinstance(words, dict) else {"query": words, "document": words}
        filled: dict[str, Any] = _filled(parameters, by_role, "query")
        return filled

    def at(self, folder: Path) -> Self:
        """Return this method with its weights from `folder`, or from the sub-folders that it names.

        Pinned revisions and digests of the definition are dropped.

        Raises DefinitionError if the method has no model, or two models in one folder.
        """
        holder = self if self.models or self.scorer is None else self.scorer
        given = holder.models
        if not given or len({model.folder for model in given.values()}) < len(given):
            fault = "two models, each with a path of its own" if given else "no model of its own"
            raise DefinitionError(
                f"Method '{self.name}' has {fault}. Copy {self.file} and state the key"
                " 'path' of its tables instead of --model-path."
            )
        there: dict[str, Any] = {"path": str(folder), "revision": None, "sha256": {}}
        moved = {k: m.model_copy(update=there) for k, m in given.items()}
        if holder is self:
            return self.model_copy(update=moved)
        return self.model_copy(update={"scorer": holder.model_copy(update=moved)})


def _filled(value: Any, words: Mapping[Any, str | None], role: str) -> Any:
    """Return `value` with the words of each role in its strings."""
    if isinstance(value, str):
        return value.replace(INSTRUCTION, words.get(role) or "")
    if isinstance(value, dict):
        return {k: _filled(v, words, k if k in words else role) for k, v in value.items()}
    return value
