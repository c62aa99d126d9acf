"""Rerankers that are causal language models: Qwen3-Reranker, mxbai-rerank-v2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import STRICT
from rankstone.runners.scorers.prompted_pairs import WEB_SEARCH, PromptedScorer, Template

QWEN3 = Template(
    yes="yes",
    no="no",
    before="<|im_start|>system\nJudge whether the Document meets the requirements based on the"
    ' Query and the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>'
    "\n<|im_start|>user\n",
    instruction="<Instruct>: {task}\n",
    query="<Query>: {query}\n",
    document="<Document>: {document}",
    after="<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    default=WEB_SEARCH,
)
"""Prompt of Qwen3-Reranker's model card, for transformers."""
MXBAI_V2 = Template(
    yes="1",
    no="0",
    before="<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful"
    " assistant.<|im_end|>\n<|im_start|>user\n",
    instruction="instruction: {task}\n",
    query="query: {query}",
    document="\ndocument: {document}",
    after="\nYou are a search relevance expert who evaluates how well documents match search"
    " queries. For each query-document pair, carefully analyze the semantic relationship between"
    " them, then provide your binary relevance judgment (0 for not relevant, 1 for relevant).\n"
    "Relevance:<|im_end|>\n<|im_start|>assistant\n",
    joined=False,
    counts_all=False,
)
"""Prompt of the package mxbai-rerank 0.1.6."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CausalReranker(PromptedScorer):
    """Log-odds of "yes" against "no" as the token after the prompt, padded on the left.

    Zhang et al.: Qwen3 Embedding: Advancing Text Embedding and Reranking Through Foundation Models,
    arXiv:2506.05176.
    """

    TEMPLATES: ClassVar[Mapping[str, Template]] = {"qwen3": QWEN3, "mxbai-v2": MXBAI_V2}
    DECODER: ClassVar[bool] = False

    template: str | dict[str, Any] = "qwen3"
    max_length: Annotated[int, Field(ge=8)] = 8192
    """Tokens per pair, including the prompt if the template counts it."""
