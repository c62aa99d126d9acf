"""Distillation from two teachers at once (TAS-Balanced).

Hofstätter et al., Efficiently Teaching an Effective Dense Retriever with Balanced Topic Aware
Sampling, SIGIR 2021 (arXiv:2104.06967). Imports torch: import this inside functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rankstone.runners.search.rescoring import all_similarities
from rankstone.training.losses.in_batch import in_batch_scores, unit


class DualTeacher(nn.Module):
    """MarginMSE with a pairwise teacher, and with another teacher over all documents of the batch.

    The loss is MarginMSE(pairs) + alpha MarginMSE(batch): the mean squared difference between the
    student's and the teacher's margins s(q, d+) - s(q, d), over the pair's own negatives d and over
    all documents d of the batch. The first teacher's scores are computed before training, those of
    the second in each step.

    Args:
        queries: Texts by number.
        documents: Texts by position.
        in_batch_teacher: Runner that scores by its representations, such as late interaction.
        alpha: Weight of the second part, 0.75 in the paper.
        in_batch_scale: Factor of the second teacher's scores, if the teachers' scales differ.
    """

    def __init__(
        self, model: Any, similarity: str, queries: Mapping[int, str], documents: Any,
        in_batch_teacher: Any, alpha: float = 0.75, in_batch_scale: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        if in_batch_teacher is None:
            raise ValueError("the loss needs a second teacher: name it as 'in_batch_teacher'")
        self.model, self.similarity = model, similarity
        self.alpha, self.in_batch_scale = alpha, in_batch_scale
        self._texts, self._teacher = (queries, documents), in_batch_teacher

    def forward(self, sentence_features: Any, labels: Tensor) -> Tensor:
        """Return the loss.

        Args:
            labels: (n, 1 + 2 * document columns) numbers of query and documents, then the
                first teacher's scores of the documents.
        """
        queries, *columns = (
            unit(self.model(features)["sentence_embedding"], self.similarity)
            for features in sentence_features
        )
        numbers, scores = labels[:, : 1 + len(columns)], labels[:, 1 + len(columns) :]
        own = torch.stack([(queries * found).sum(1) for found in columns], dim=1)
        batch = in_batch_scores(queries, torch.cat(columns), "dot")
        taught = self._scores(numbers.long().cpu().numpy()).to(batch) * self.in_batch_scale
        return margin_mse(own, scores) + self.alpha * margin_mse(
            torch.cat([own[:, :1], batch], dim=1),
            torch.cat([taught.diagonal()[:, None], taught], dim=1),
        )

    def _scores(self, numbers: Any) -> Tensor:
        """Return the second teacher's (n, documents) scores; 0 if a text has no representation."""
        texts, documents = self._texts
        asked = self._teacher.encode([texts[number] for number in numbers[:, 0].tolist()], "query")
        found = self._teacher.encode(documents.take(numbers[:, 1:].T.ravel()), "document")
        scores = all_similarities(asked, found)
        return torch.from_numpy(np.where(np.isfinite(scores), scores, 0))


def margin_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared difference of the margins of the first column over the others."""
    own, taught = (scores[:, :1] - scores[:, 1:] for scores in (student, teacher))
    return nn.functional.mse_loss(own, taught)
