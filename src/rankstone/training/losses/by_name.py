"""Losses by name: those of sentence-transformers, and own implementations of others."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rankstone.arrays import Ints
from rankstone.errors import DefinitionError, did_you_mean
from rankstone.training.columns import Form

LIBRARY = "sentence_transformers"
INNER = "loss"
"""Option that names the loss modified by another loss."""


class Loss(NamedTuple):
    target: str
    """`module:Class`, constructed with the model and the recipe's options."""
    form: Form | None
    """Format of the input columns; None: that of the loss it modifies."""
    takes: tuple[str, ...] = ()
    """Fields of `Known` that are passed to the constructor."""


def _library(room: str, **losses: tuple[str, Form | None]) -> dict[str, Loss]:
    home = f"{LIBRARY}.{room}.losses"
    return {name: Loss(f"{home}:{kind}Loss", form) for name, (kind, form) in losses.items()}


LIBRARY_LOSSES: Mapping[str, Mapping[str, Loss]] = {
    "ast_graph": _library(
        "sentence_transformer",
        multiple_negatives_ranking=("MultipleNegativesRanking", "pairs"),
    ),
    "dense": _library(
        "sentence_transformer",
        adaptive_layer=("AdaptiveLayer", None),
        cached_multiple_negatives_ranking=("CachedMultipleNegativesRanking", "pairs"),
        distill_kl_div=("DistillKLDiv", "scores"),
        margin_mse=("MarginMSE", "scores"),
        matryoshka=("Matryoshka", None),
        matryoshka_2d=("Matryoshka2d", None),
        multiple_negatives_ranking=("MultipleNegativesRanking", "pairs"),
    ),
    "sparse": _library(
        "sparse_encoder",
        distill_kl_div=("SparseDistillKLDiv", "scores"),
        margin_mse=("SparseMarginMSE", "scores"),
        multiple_negatives_ranking=("SparseMultipleNegativesRanking", "pairs"),
        splade=("Splade", None),
    ),
    "cross_encoder": _library(
        "cross_encoder",
        binary_cross_entropy=("BinaryCrossEntropy", "labelled"),
        lambda_rank=("Lambda", "lists"),
        list_mle=("ListMLE", "lists"),
        list_net=("ListNet", "lists"),
        margin_mse=("MarginMSE", "scores"),
        multiple_negatives_ranking=("MultipleNegativesRanking", "pairs"),
        rank_net=("RankNet", "lists"),
    ),
}
HOME = "rankstone.training.losses"
SIMILARITY, JUDGED = ("similarity",), ("relevant", "similarity")
CODED = (*JUDGED, "documents", "runner", "seed")
JPQ = Loss(f"{HOME}.quantised:RankedCodes", "asked", CODED)
OWN_LOSSES: Mapping[str, Mapping[str, Loss]] = {
    "ast_graph": {},
    "dense": {
        "adversarial": Loss(f"{HOME}.adversarial:AdversarialRetriever", "scores", SIMILARITY),
        "decoupled_softmax": Loss(f"{HOME}.multi_label:DecoupledSoftmax", "numbered", JUDGED),
        "dual_teacher": Loss(
            f"{HOME}.dual_teacher:DualTeacher",
            "taught",
            (*SIMILARITY, "queries", "documents", "in_batch_teacher"),
        ),
        "enhanced_decoding": Loss(f"{HOME}.retromae:EnhancedDecoding", "texts"),
        "nested_widths": Loss(f"{HOME}.nested:NestedWidths", None),
        "soft_top_k": Loss(f"{HOME}.multi_label:SoftTopK", "numbered", JUDGED),
        "weighted_exits": Loss(f"{HOME}.nested:WeightedExits", None, SIMILARITY),
    },
    "sparse": {"idf_splade": Loss(f"{HOME}.idf_flops:IdfSplade", None, ("documents",))},
    "cross_encoder": {
        "coupled_estimation": Loss(f"{HOME}.coupled:CoupledEstimation", "candidates"),
        "list_softmax": Loss(f"{HOME}.coupled:ListSoftmax", "candidates"),
    },
    "fusion": {"generation_augmented": Loss(f"{HOME}.gear:GenerationAugmented", "located")},
    "generative": {
        "docid_cross_entropy": Loss(
            f"{HOME}.docids:DocidCrossEntropy", "docids", ("documents", "runner", "seed")
        )
    },
    "jpq": {"jpq": JPQ},
    "poly_encoder": {"poly_codes": Loss(f"{HOME}.candidates:PolyCodes", "pairs")},
    "repconc": {
        "jpq": JPQ,
        "repconc": Loss(f"{HOME}.quantised:JointClustering", "numbered", CODED),
    },
    "uni_encoder": {"packed_candidates": Loss(f"{HOME}.candidates:PackedCandidates", "candidates")},
}
"""Losses that sentence-transformers does not have."""
LOSSES = {
    adapter: {**LIBRARY_LOSSES.get(adapter, {}), **own} for adapter, own in OWN_LOSSES.items()
}
"""Adapter -> name -> loss."""


def form_of(adapter: str, name: str, options: Mapping[str, Any]) -> Form:
    """Return the format of the columns that a loss, or the loss it modifies, reads."""
    found = _found(adapter, name)
    if found.form is None:
        inner, more = _inner(name, options)
        return _found(adapter, inner).form or form_of(adapter, inner, more)
    if adapter == "sparse":
        raise DefinitionError(
            f"[training]: '{name}' needs a regulariser to train a sparse encoder, or its vectors"
            f' stay dense. Write loss = "splade", and options.{INNER} = "{name}".'
        )
    return found.form


class Known(NamedTuple):
    """Arguments of losses besides their options."""

    model: Any
    similarity: str
    """Similarity of the model's vectors, `cosine` or `dot`."""
    relevant: Sequence[Ints]
    """Positions of the relevant documents, by query number."""
    documents: Any
    """Texts of the documents; supports slicing."""
    queries: Mapping[int, str]
    """Query number -> text."""
    runner: Any
    """The untrained part as a runner."""
    in_batch_teacher: Any
    """A runner, or None."""
    seed: int


def build_loss(adapter: str, name: str, options: Mapping[str, Any], known: Known) -> Any:
    """Construct the loss, and the one that it modifies; imports torch.

    Raises:
        DefinitionError: the loss is unknown for the adapter, or an option is invalid.
    """
    found = _found(adapter, name)
    module, _, kind = found.target.partition(":")
    arguments = {key: value for key, value in options.items() if key != INNER}
    if found.form is None:
        arguments[INNER] = build_loss(adapter, *_inner(name, options), known)
    arguments |= {key: getattr(known, key) for key in found.takes}
    if (
        known.similarity == "dot"
        and adapter in ("ast_graph", "dense")
        and name.endswith("negatives_ranking")
    ):
        from sentence_transformers.util import dot_score

        arguments = {"scale": 1.0, "similarity_fct": dot_score, **arguments}
    try:
        return getattr(importlib.import_module(module), kind)(known.model, **arguments)
    except (TypeError, ValueError) as error:
        raise DefinitionError(f"[training]: options of '{name}': {error}. Correct them.") from None


def _found(adapter: str, name: str) -> Loss:
    known = LOSSES.get(adapter, {})
    if name not in known:
        raise DefinitionError(
            f"[training]: key 'loss': no loss '{name}' for the adapter '{adapter}'."
            f"{did_you_mean(name, known)} Known: {', '.join(sorted(known)) or 'none'}."
        )
    return known[name]


def _inner(name: str, options: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    inner = options.get(INNER)
    if isinstance(inner, str):
        return inner, {}
    if isinstance(inner, Mapping) and isinstance(inner.get("name"), str):
        return inner["name"], {key: value for key, value in inner.items() if key != "name"}
    raise DefinitionError(
        f"[training]: '{name}' modifies another loss. Name it: options.{INNER} ="
        ' "multiple_negatives_ranking"'
    )
