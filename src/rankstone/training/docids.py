"""Training inputs of generative retrievers: documents and their docids."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pydantic

from rankstone.errors import DefinitionError
from rankstone.runners.search.generative.training_pairs import InputSettings, training_pairs
from rankstone.runners.testing import Pairs, PlainContext
from rankstone.specs import Recipe
from rankstone.training.data import Documents, Examples

Settings = TypeVar("Settings")
EVERY = slice(None)


def stated(kind: type[Settings], key: str, values: Any) -> Settings:
    """Parse the table `options.<key>` of a recipe as `kind`."""
    try:
        return kind(**values)
    except (TypeError, pydantic.ValidationError) as error:
        raise DefinitionError(f"[training]: 'options.{key}': {error}. Correct it.") from None


def ids_of(documents: Documents) -> list[str]:
    """Return the ids of all documents, by position."""
    return [
        id
        for corpus in documents.corpora
        for id in corpus.ids(np.arange(len(corpus), dtype=np.int64))
    ]


def collection(documents: Documents, seed: int, examples: Examples | None = None) -> PlainContext:
    """Return the documents with their ids, and the training queries of `examples`."""
    more: dict[str, Any] = {}
    if examples is not None:
        counts = [len(found) for found in examples.relevant]
        rows = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
        judged = Pairs(query=rows, document=np.concatenate(examples.relevant))
        more = {"train_queries": examples.queries, "train_judgements": judged}
    names, work = ids_of(documents), Path(tempfile.gettempdir())
    return PlainContext(texts=documents[EVERY], names=names, seed=seed, work=work, **more)


def inputs(recipe: Recipe, examples: Examples, runner: Any) -> tuple[list[str], list[int]]:
    """Return the training inputs, each with the position of the document it stands for."""
    from transformers import AutoTokenizer

    settings = stated(InputSettings, "inputs", recipe.options.get("inputs", {}))
    tokenizer: Any = AutoTokenizer.from_pretrained(runner.model.folder)
    context = collection(examples.documents, recipe.seed, examples)
    positions = [str(row) for row in range(len(context.texts))]
    pairs = [pair for pair in training_pairs(positions, context, settings, tokenizer) if pair.input]
    if not pairs:
        raise DefinitionError("[training]: 'options.inputs' makes no input. State one.")
    return [pair.input for pair in pairs], [int(pair.docid) for pair in pairs]
