"""Specs of tasks: tables of `benchmarks/<family>.toml`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import AfterValidator, Field, model_validator

from rankstone.errors import DefinitionError, MeasureError
from rankstone.predicates import parse
from rankstone.specs.values import REGISTERED, Values
from rankstone.strict import Spec

DEFAULT_MEASURES = (
    "nDCG@10", "R@100", "R@1000", "RR@10", "AP", "P@10", "Success@5", "Judged@10",
)  # fmt: skip


class MeasureName(NamedTuple):
    """The parts of ``Kind(parameter=value, ...)@cutoff``, the grammar of ir_measures.

    It is parsed here because importing ir_measures would slow down every cell.
    """

    kind: str
    parameters: dict[str, Any]
    at: Any
    """The value after the @; None if there is none."""

    @classmethod
    def parse(cls, name: str) -> MeasureName:
        """Split ``"RR(rel=2)@10"``; raise a MeasureError if it is not a measure name."""
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
        """Number of results that the measure needs; 0 if it uses all results."""
        return self.cutoff if isinstance(self.cutoff, int) else 0


class Counts(Spec):
    """Pinned sizes of a collection; None if the source does not fix them."""

    documents: int | None = Field(default=None, ge=0)
    """Number of documents."""
    queries: int | None = Field(default=None, ge=0)
    """Number of judged queries of the split."""
    judgements: int | None = Field(default=None, ge=0)
    """Number of judgements of the split."""


QUERY_ID = "{id}"


def of_query(text: str, name: str) -> str:
    """Return the predicate of a query, whose id replaces `{id}` as a string."""
    return text.replace(QUERY_ID, repr(name))


def _parsed(filters: str | dict[str, str]) -> str | dict[str, str]:
    """Return `filters`; ValueError if one is not a predicate."""
    stated = filters.values() if isinstance(filters, dict) else [filters] if filters else []
    try:
        for text in stated:
            parse(of_query(text, ""))
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
    """Arguments of the loader."""
    dataset: str
    """Name of the collection, shared by tasks over one corpus; defaults to the task's name."""
    split: str = "test"
    """Split whose queries are searched."""
    train_split: str | None = None
    """Split of the queries on which methods may be trained."""
    text: str = "{title} {text}"
    """Template of a document's text, stripped of white space at both ends."""
    instruction: str = ""
    """Instruction for models that take one, as MTEB states it. It becomes part of the prompts of
    such a method, not of the task."""
    counts: Counts = Counts()
    """Pinned sizes, compared with the data when it is prepared."""
    sha256: dict[Literal["corpus", "queries", "judgements"], str] = Field(default_factory=dict)
    """Pinned digests of the prepared data."""
    judge: Literal["judgements", "answers"] = "judgements"
    """`answers`: every query of the queries file is searched, and a passage is relevant if its text
    contains one of the query's answers; the measure is Accuracy@k."""
    relevance: int = 1
    """Binary measures count a label at or above this as relevant."""
    self_hits: Literal["keep", "drop"] = "keep"
    """`drop` removes a document whose id equals the query's id."""
    depth: int = Field(default=1000, ge=1)
    """Number of results of each query."""
    measures: tuple[str, ...] = DEFAULT_MEASURES
    """Names of ir_measures."""
    headline: str = "nDCG@10"
    """The measure by which leaderboards are ordered."""
    limit_queries: int | None = Field(default=None, ge=1)
    """Number of judged queries, the first ones of the file; a reduced task is a different task."""
    filter: Annotated[str | dict[str, str], AfterValidator(_parsed)] = ""
    """Predicate over columns of the documents (`rankstone.predicates`), or one predicate for each
    query id. Only documents that pass are searched and count as relevant. In the former, `{id}`
    stands for the query's id: `question == {id}`."""
    fold: tuple[int, int] | None = None
    """(i, k): only the queries of the i-th of k folds of the split; methods may be trained on the
    queries of the other folds instead of the training split."""
    folds_by: Literal["queries", "documents", "titles"] = "queries"
    """`documents` keeps queries with a common relevant document in one fold, `titles` queries whose
    relevant documents have a common title."""
    stated_in: str = ""
    """The file that was read; not a key of the file."""

    PATHS: ClassVar[frozenset[str]] = frozenset({"path", "docs", "topics", "qrels", "file"})

    @property
    def origin(self) -> dict[str, Any]:
        """Arguments of the loader, without the paths of files whose content they state."""
        stated = "content" in self.source
        return {k: v for k, v in self.source.items() if not stated or k not in self.PATHS}

    def _digested(self) -> dict[str, Any]:
        body = {**super()._digested(), "source": self.origin}
        if self.fold is None:
            body.pop("folds_by", None)
        return body

    def path(self, stated: str) -> Path:
        """Return a path of the definition; a relative path starts at the folder of its file."""
        return Path(self.stated_in).parent / Path(stated).expanduser()

    @model_validator(mode="after")
    def _headline_is_measured(self) -> Self:
        if self.headline not in self.measures:
            raise ValueError(f"the headline '{self.headline}' is not among the measures")
        return self

    def limited(self, *, queries: int | None = None, depth: int | None = None) -> TaskSpec:
        """Return this task with fewer queries or another depth, as a different task with its own
        name. A limit that leaves out no query of an already limited task changes nothing.

        Measures deeper than `depth` are left out; a DefinitionError if all are deeper.
        """
        changes: dict[str, Any] = {}
        name = self.name
        if queries is not None and queries < (self.limit_queries or queries + 1):
            name, changes["limit_queries"] = f"{name}@first{queries}", queries
        if depth is not None and depth != self.depth:
            name, changes["depth"] = f"{name}@k{depth}", depth
            measures = tuple(m for m in self.measures if MeasureName.parse(m).depth <= depth)
            if not measures:
                raise DefinitionError(
                    f"Task '{self.name}': every measure needs more than {depth} results:"
                    f" {', '.join(self.measures)}. Increase --k."
                )
            changes["measures"] = measures
            changes["headline"] = self.headline if self.headline in measures else measures[0]
        return self.model_copy(update={**changes, "name": name})

    def folded(self, number: int, k: int) -> TaskSpec:
        """Return this task with the queries of a fold, as a different task with its own name.

        Raises:
            DefinitionError: there is no such fold, the task has no judgements, or its queries are
                limited already: folds are of the whole split.
        """
        if self.limit_queries is not None:
            whole, _, first = self.name.partition("@")
            fold = f"Write {whole}@fold{number}of{k}@{first}."
            raise DefinitionError(
                f"Task '{self.name}': folds are of the whole split, and can be limited, not the"
                f" other way round. {fold if first else 'Remove its key limit_queries.'}"
            )
        if not 1 <= number <= k or k < 2 or self.fold or self.judge != "judgements":
            raise DefinitionError(
                f"Task '{self.name}': no fold {number} of {k}. Tasks with judgements have folds,"
                f" for example {self.name}@fold1of5."
            )
        name = f"{self.name}@fold{number}of{k}"
        changes: dict[str, Any] = {"fold": (number, k), "train_split": self.split, "name": name}
        return self.model_copy(update=changes)

    def cut(self, cuts: Iterable[str]) -> TaskSpec:
        """Return this task `limited` by the suffixes after `@` in a name: `first100`, `k20`,
        `fold1of5`.

        Raises:
            DefinitionError: a suffix is none of these.
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
