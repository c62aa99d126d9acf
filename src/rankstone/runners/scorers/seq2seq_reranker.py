"""Rerankers that are sequence-to-sequence models: monoT5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import STRICT
from rankstone.runners.scorers.prompted_pairs import PromptedScorer, Template


def _mono(yes: str, no: str) -> Template:
    return Template(
        yes=yes,
        no=no,
        query="Query: {query}",
        document=" Document: {document}",
        after="Relevant:</s>",
    )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Seq2SeqReranker(PromptedScorer):
    """Log-odds of "true" against "false" as the decoder's first token.

    The log-softmax over the two is a monotone function of it. A document that is too long loses its
    end, never the prompt that follows it. Nogueira, Jiang, Pradeep, Lin: Document Ranking
    with a Pretrained Sequence-to-Sequence Model, Findings of EMNLP 2020, arXiv:2003.06713.
    """

    TEMPLATES: ClassVar[Mapping[str, Template]] = {
        "monot5": _mono("▁true", "▁false"),
        "mmarco": _mono("▁yes", "▁no"),
    }
    DECODER: ClassVar[bool] = True

    template: str | dict[str, Any] = "monot5"
    max_length: Annotated[int, Field(ge=8)] = 512
    """Tokens per pair, the prompt included."""
