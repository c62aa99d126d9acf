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
"""Keys of a definition that name files of a model."""
INSTRUCTION = "{instruction}"
"""Stands in a method's prompts for the words that ask for the documents of the task."""
DEFAULT, EVERY = "default", "*"
"""Keys of instructions: where neither method nor task states one, and on every task."""
OWN = "own"
"""Stands in a recipe for the task that is run."""
Instruction = str | dict[Literal["query", "document"], str]
"""Words for both roles, or for each."""


class Archive(Spec):
    """A zip that packages carry in pieces, unpacked once into the cache: `[model.archive]`."""

    pieces: tuple[str, ...] = Field(min_length=1)
    """Files of importable packages, `package/file`, in the order in which they are joined."""
    sha256: str
    """Digest of the joined pieces."""
    folder: str = ""
    """The folder inside the zip that holds the model."""


class ModelSpec(Spec):
    """Source of a model's weights: explicit path, package, hub cache, hub, in this order."""

    id: str
    """The hub's name of the model, or a plain name for one that only a package carries."""
    revision: str | None = None
    """Commit of the hub's repository."""
    path: str | None = None
    """A folder; `~` and environment variables are expanded."""
    package: str | None = None
    """An importable package that carries the files, with the folder inside it: `package/folder`."""
    archive: Archive | None = None
    """Packages that carry the files together, where one would be too large."""
    folder: str = ""
    """The folder inside the repository, package or path that holds this model."""
    files: tuple[str, ...] = ()
    """Names of weights beside the usual ones, `*.safetensors` or `*.bin`, that the method needs."""
    sha256: dict[str, str] = Field(default_factory=dict)
    """File name inside the model's folder -> expected sha256."""
    obtain: str = ""
    """Sentence for the error where neither a package nor the hub has the model: how to get it."""

    DOCUMENTATION: ClassVar[frozenset[str]] = frozenset({"obtain", "archive"})
    LATER: ClassVar[frozenset[str]] = frozenset({"folder", "files"})

    def _digested(self) -> dict[str, Any]:
        """Leave out where the files are: what they hold is in the cell's key, and in a name."""
        return {**super()._digested(), "path": None}


class Recipe(Spec):
    """Training of a model before it is used: the table `[training]` beside `[model]`.

    The model of the definition is the start. It is trained once for all tasks on which the data
    is the same.
    """

    DOCUMENTATION: ClassVar[frozenset[str]] = frozenset({"save_every"})
    LATER: ClassVar[frozenset[str]] = frozenset({"in_batch_teacher", "pooled", "rounds"})
    TEACHERS: ClassVar[tuple[str, ...]] = ("teacher", "in_batch_teacher")

    data: tuple[str | TaskSpec, ...] = Field(min_length=1)
    """Tasks from whose training splits it learns, named in the TOML, resolved on reading. `own`
    is the task that is run."""
    loss: str
    """A name of `rankstone.training.losses`."""
    options: Values = Field(default_factory=dict)
    """Arguments of the loss. `loss` among them is the loss that it modifies: a name, or a table
    with `name` and arguments."""
    negatives: Literal["batch", "random", "bm25", "start", "student"] = "batch"
    """Negatives of each pair beside the documents of its batch: none; documents by chance; or by
    chance among the `depth` best of BM25, of the start itself, or, in a teacher's recipe, of the
    method that learns from the teacher."""
    per_pair: int = Field(default=1, ge=1)
    """Negatives of each pair."""
    depth: int = Field(default=100, ge=1)
    """Results among which negatives are sought."""
    pool: int = Field(default=1, ge=1)
    """Rows of each pair, each with negatives of its own, among which samplers choose."""
    first: Recipe | None = None
    """Training that precedes this one, such as pre-training: its weights are this one's start."""
    teacher: str | MethodSpec | None = None
    """Method whose scores a distillation loss takes, named in the TOML, resolved on reading. Where
    it has a recipe, it is trained first."""
    in_batch_teacher: str | MethodSpec | None = None
    """Method that scores every query of a batch with every document of it (`dual_teacher`)."""
    rounds: int = Field(default=1, ge=1)
    """Times that the teacher, by its own recipe, and this model are trained in turn, each from the
    weights that it has reached: so many steps each time (AR2)."""
    steps: int = Field(ge=1)
    batch: int = Field(default=32, ge=1)
    """Pairs of a step."""
    sampler: str = "random"
    """Choice of the pairs of a batch: a name of `rankstone.training.samplers`."""
    topics: int = Field(default=100, ge=1)
    """Clusters of the queries' vectors by the start, for samplers by topics."""
    learning_rate: float = Field(default=2e-5, gt=0)
    schedule: str = "linear"
    """Course of the learning rate after the warm-up, by its name in transformers."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = Field(default=0.0, ge=0)
    seed: int = Field(default=0, ge=0)
    start: Literal["weights", "random"] = "weights"
    """`random`: the architecture of the model with new weights."""
    layers: int | None = Field(default=None, ge=1)
    """Keep the first so many layers of the start."""
    held_out: float = Field(default=0.0, ge=0, lt=1)
    """Share of the training queries on which the loss is evaluated; the best weights are kept."""
    check_every: int = Field(default=100, ge=1)
    """Steps between evaluations on held-out queries."""
    patience: int | None = Field(default=None, ge=1)
    """Evaluations without an improvement after which training stops."""
    save_every: int = Field(default=500, ge=1)
    """Steps that a killed run loses at most; of no influence on the weights."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Precision of the network on a GPU; the weights and the optimiser stay float32."""
    device: str | None = None
    """A torch device; None: as `--device` states, else the best there is."""
    repeated_queries: Literal["refuse", "drop"] = "refuse"
    """Treatment of training data that holds queries of the test."""
    pooled: int | None = Field(default=None, ge=1)
    """Only relevant documents among the first so many of BM25 count as judged, as if a pool of its
    results had been judged; others may become negatives. Simulates pooling bias."""
    documents: Literal["any", "disjoint"] = "any"
    """`disjoint` leaves out training queries with a document that is relevant in the test."""

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
    """The model of queries, where they have a checkpoint of their own."""
    lora: ModelSpec | None = None
    """A low-rank adapter of `model`, in PEFT's layout, for both roles or for documents alone."""
    query_lora: ModelSpec | None = None
    """The adapter of queries, where they have their own."""
    training: Recipe | None = None
    """Training of the model before it is used."""
    members: tuple[MethodSpec, ...] = ()
    """Methods that a composite is made of; named in the TOML, resolved on reading."""

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
    """Template of a document's text for this method, if it is not the task's: in
    `{title: [SEP] }{text}`, ` [SEP] ` is left out with an empty title."""
    on: dict[str, dict[str, Any]] = Field(default={})
    """Parameters that replace those above on a task, a suite, or a family (`beir/*`): lengths and
    instructions with which its published results on that benchmark were made."""
    instructions: dict[str, Instruction] = Field(default={})
    """Words that take the place of `{instruction}` in the prompts, also of the scorer, by the keys
    of `on`. `default` is for tasks that neither this table nor their own definition gives one; `*`
    precedes the tasks' own."""
    citation: str = ""
    """Authors, venue, year, and where to read it."""
    licence: str = ""
    """Licence of the weights: an SPDX name, or the name that their owners use."""
    published: str | None = None
    """Name of this method in `leaderboards/published.csv`; None: its own name."""
    trained_on: tuple[str, ...] | None = None
    """Collections that its weights were trained on, as parts of the names of data sets (`msmarco`);
    None: not known."""
    weights: Literal["public", "unavailable"] = "public"
    """`unavailable`: never released, so the method needs a path to weights."""

    stated_in: str = ""
    """The file that was read, or the form that was given; not a key of the file."""

    @property
    def file(self) -> str:
        """The definition's file, for messages."""
        return self.stated_in or f"runners/{self.name.partition('+')[0]}.toml"

    @property
    def varies(self) -> bool:
        """True if it, or a method that it is made of, may be another one on another task."""
        inner = (*self.members, *(self.scorer.members if self.scorer else ()))
        return bool(self.on or self.instructions) or any(member.varies for member in inner)

    def on_task(self, task: str, instruction: str = "") -> Self:
        """Return this method as it runs on `task`, its members too: `on` and `instructions` are
        applied and empty.

        Args:
            instruction: the task's own, which precedes the method's default.
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
        """Return this method with its weights from `folder`, or its folders that it names.

        What the definition pins is of other weights, and goes.

        Raises DefinitionError where it has no model, or two in one folder.
        """
        holder = self if self.models or self.scorer is None else self.scorer
        given = holder.models
        if not given or len({model.folder for model in given.values()}) < len(given):
            fault = "two models, each with a path of its own" if given else "no model of its own"
            raise DefinitionError(
                f"Runner '{self.name}' has {fault}. Copy {self.file} and state the key"
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
