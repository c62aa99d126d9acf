"""The model that training begins with, as its adapter uses it. Imports torch inside functions."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rankstone.errors import DefinitionError
from rankstone.runners.encoders.bag_of_tokens import IDF
from rankstone.specs import AdapterSpec, Recipe
from rankstone.training.docids import collection, stated

PARTIAL = ("by", "dimensions", "exit_layer", "feed_forward", "layer")
"""Parameters by which a method uses a part of its network."""


class Start(NamedTuple):
    """A model of sentence-transformers, and the prompts of its columns."""

    model: Any
    prompts: dict[str, str]
    """Column -> words before its texts."""
    similarity: str
    """`cosine` or `dot`; empty where the model scores pairs."""
    routes: dict[str, str] | None = None
    """Column -> the model's route of its texts, where it has several."""


def whole_network(part: AdapterSpec) -> AdapterSpec:
    """Return `part` with its whole network: methods that use parts of one share its training."""
    kept = {key: value for key, value in part.parameters.items() if key not in PARTIAL}
    return part.model_copy(update={"parameters": kept})


def dense(runner: Any, recipe: Recipe, _: Any) -> Start:
    """Return the dual encoder with all its modules."""
    whole = dataclasses.replace(runner, exit_layer=recipe.layers)
    _refuse_more_than_one(runner, "layer_norm")
    model = _begun(whole._network("document", whole.model).load().model, recipe)
    return Start(_limited(model, runner), _prompts(runner, recipe), _similarity(runner))


def graphed(runner: Any, recipe: Recipe, documents: Any) -> Start:
    """Return the dual encoder with a new graph network for documents."""
    from sentence_transformers import SentenceTransformer

    from rankstone.runners.transformer.loading import first
    from rankstone.training.graphs import GraphedText

    start = dense(runner, recipe, documents)
    dim = start.model.get_embedding_dimension()
    network = runner.new_network(first(start.model).auto_model, dim)
    model = SentenceTransformer(modules=[GraphedText(start.model, network)], device="cpu")
    return start._replace(model=model, routes=_by_column(recipe, "query", "document"))


def quantised(runner: Any, recipe: Recipe, documents: Any) -> Start:
    """Return the encoder of a product quantiser, with the layers that it has."""
    encoder = runner.encoder
    views = [getattr(encoder, key, True) for key in ("dimensions", "feed_forward", "layer_norm")]
    if any(views):
        raise DefinitionError(
            "[training]: a quantiser trains the encoder of its member. Name a dense method without"
            " 'dimensions', 'feed_forward' and 'layer_norm'."
        )
    layers = recipe.layers or encoder.exit_layer
    return dense(encoder, recipe.model_copy(update={"layers": layers}), documents)


def sparse(runner: Any, recipe: Recipe, documents: Any) -> Start:
    """Return the masked language model with its pooling, for queries too, or with their tokens."""
    from rankstone.runners.transformer.vocabulary import whole_splade

    whole = dataclasses.replace(runner, exit_layer=recipe.layers)
    _refuse_more_than_one(runner)
    network = whole._network("document", whole.model)
    model = _begun(whole_splade(network, runner.pooling, runner.activation), recipe)
    start = Start(_limited(model, runner), _prompts(runner, recipe), "dot")
    if runner.query == "model":
        return start
    whole_model = routed(model, token_weights(runner, model, documents))
    return start._replace(model=whole_model, routes=_by_column(recipe, "query", "document"))


def cross_encoder(scorer: Any, recipe: Recipe, _: Any) -> Start:
    """Return the classifier of pairs; weights that the start does not have are random."""
    from sentence_transformers import CrossEncoder

    classes = {"num_labels": 1, "local_files_only": True}
    task = "sequence-classification"
    module = _backbone(scorer, recipe, transformer_task=task, config_kwargs=classes)
    model = _begun(CrossEncoder(modules=[module], device="cpu"), recipe)
    module.tokenizer.model_max_length = scorer.max_length
    return Start(model, {}, "")


def states(scorer: Any, recipe: Recipe, _: Any) -> Start:
    """Return the token states of a scorer's backbone."""
    from sentence_transformers import SentenceTransformer

    if getattr(scorer, "candidates", None):
        raise DefinitionError("[training]: one backbone is trained. Remove 'candidates'.")
    module = _backbone(scorer, recipe)
    model = _begun(SentenceTransformer(modules=[module], device="cpu"), recipe)
    model.max_seq_length = max(scorer.query_length, scorer.document_length)
    return Start(model, {}, "")


def _backbone(scorer: Any, recipe: Recipe, **settings: Any) -> Any:
    """Return the network of a scorer, up to the layer of the recipe if that states one."""
    from sentence_transformers.base.modules import Transformer

    from rankstone.runners.transformer.submodels.early_exit import leave

    given = {"model_kwargs": {"local_files_only": True}, **settings}
    module = Transformer(str(scorer.model.folder), **given)
    if recipe.layers is not None:
        leave(module.auto_model, recipe.layers, scorer.model.id)
    return module


def fusion(scorer: Any, recipe: Recipe, _: Any) -> Start:
    """Return the encoders of both roles, and the fusion encoder, from one BERT."""
    from sentence_transformers import SentenceTransformer
    from transformers import AutoTokenizer

    from rankstone.runners.scorers.gear.fused_network import begun
    from rankstone.runners.transformer.network import quiet
    from rankstone.training.losses.gear import Fusion

    if recipe.start == "random":
        raise DefinitionError(
            "[training]: the adapter 'fusion' starts from the weights of its model. Remove 'start'."
        )
    tokenizer: Any = AutoTokenizer.from_pretrained(scorer.model.folder)
    with quiet():
        network = begun(scorer.model.folder, recipe.layers)
    limit = max(scorer.query_length, scorer.document_length)
    module = Fusion(network, tokenizer, limit)
    return Start(SentenceTransformer(modules=[module], device="cpu"), {}, "")


def generative(runner: Any, recipe: Recipe, documents: Any) -> Start:
    """Return the sequence-to-sequence model, or a new T5 with a tokenizer like the model's, with a
    token for each document where docids are atomic."""
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    from rankstone.training.losses.docids import Sizes, Writer

    network: Any
    context = collection(documents, recipe.seed)
    tokenizer: Any = AutoTokenizer.from_pretrained(runner.model.folder)
    sizes = stated(Sizes, "network", recipe.options.get("network", {}))
    if recipe.start == "random":
        tokenizer = sizes.pieces(tokenizer, context.texts)
    if runner.docids == "atomic":
        tokenizer.add_tokens(runner.names(context))
    if recipe.start == "random":
        network = sizes.network(tokenizer)
    else:
        network = AutoModelForSeq2SeqLM.from_pretrained(runner.model.folder)
        network.resize_token_embeddings(len(tokenizer))
    module = Writer(network, tokenizer, runner.query_length)
    prompts = {"anchor": runner.prompt} if runner.prompt else {}
    return Start(SentenceTransformer(modules=[module], device="cpu"), prompts, "")


STARTS: dict[str, Callable[[Any, Recipe, Any], Start]] = {
    "ast_graph": graphed, "cross_encoder": cross_encoder, "dense": dense, "fusion": fusion,
    "generative": generative, "jpq": quantised, "poly_encoder": states, "repconc": quantised,
    "sparse": sparse, "uni_encoder": states,
}  # fmt: skip
"""Adapter -> the function that opens its start, given the runner, the recipe and its documents."""


def opened(adapter: str, runner: Any, recipe: Recipe, documents: Any) -> Start:
    """Return the start of a recipe; DefinitionError for an adapter that is not trained.

    Args:
        documents: Texts that get docids, or weigh the tokens of queries that no network encodes.
    """
    import torch

    torch.manual_seed(recipe.seed)
    if adapter not in STARTS:
        raise DefinitionError(
            f"[training]: the adapter '{adapter}' has no recipe. Adapters that are trained:"
            f" {', '.join(STARTS)}."
        )
    return STARTS[adapter](runner, recipe, documents)


def routed(model: Any, weights: Any) -> Any:
    """Return a sparse encoder whose queries are their tokens, each once, by fixed weights."""
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Router
    from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding

    tokens = SparseStaticEmbedding(model.tokenizer, weights, frozen=True)
    router = Router.for_query_document(query_modules=[tokens], document_modules=list(model))
    return SparseEncoder(modules=[router], device="cpu", prompts=model.prompts)


def token_weights(runner: Any, model: Any, documents: Any) -> Any:
    """Return the (vocabulary,) weights of a query's tokens: those of the start, or, where it has no
    `idf.json`, the idf of `documents`."""
    import torch

    from rankstone.training.losses.idf_flops import idf_of

    if runner.query == "tokens" or (runner.model.folder / IDF).is_file():
        return torch.from_numpy(runner._token_weights.copy())
    weights = idf_of(model, documents)
    weights[model.tokenizer.all_special_ids] = 0
    return weights


def write(start: Start, folder: Path) -> None:
    """Write the trained model, of one with routes the network of documents and `idf.json`."""
    from sentence_transformers import SparseEncoder

    model = start.model
    if hasattr(model[0], "write"):
        model[0].write(folder)
        return
    if start.routes:
        routes = model[0].sub_modules
        weights = routes["query"][0].weight.detach().cpu().numpy()
        known = model.tokenizer.convert_ids_to_tokens(range(len(weights)))
        idf = {word: float(w) for word, w in zip(known, weights, strict=True) if word and w > 0}
        modules = list(routes["document"])
        model = SparseEncoder(modules=modules, device="cpu", prompts=model.prompts)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / IDF).write_text(json.dumps(idf), encoding="utf-8")
    model.save_pretrained(str(folder), create_model_card=False)


def _begun(model: Any, recipe: Recipe) -> Any:
    """Return the model, with the weights that transformers begins with if the start is random."""
    networks = (m for m in model.modules() if hasattr(m, "init_weights") and hasattr(m, "config"))
    network = next(networks, None) if recipe.start == "random" else None
    if network is not None:
        for inner in network.modules():
            inner._is_hf_initialized = False
            for weight in inner.parameters(recurse=False):
                weight._is_hf_initialized = False
        network.init_weights()
    return model


def _refuse_more_than_one(runner: Any, *more: str) -> None:
    for name in ("query_model", "lora", "query_lora", *more):
        if getattr(runner, name, None):
            raise DefinitionError(f"[training]: a method with '{name}' is not trained. Remove it.")


def _similarity(runner: Any) -> str:
    """Return the stated similarity, or that of the checkpoint where the adapter reads it."""
    return str(getattr(runner, "_similarity", None) or runner.similarity)


def _limited(model: Any, runner: Any) -> Any:
    """Return the model with the longer of the limits of both roles."""
    limits = [runner._tower(role).limit for role in ("query", "document")]
    if None not in limits:
        model.max_seq_length = max(limits)
    return model


def _prompts(runner: Any, recipe: Recipe) -> dict[str, str]:
    words = _by_column(recipe, runner._prompt("query"), runner._prompt("document"))
    return {column: text for column, text in words.items() if text}


def _by_column(recipe: Recipe, query: str, document: str) -> dict[str, str]:
    """Return `query` for the column of queries, `document` for those of documents."""
    negatives = [f"negative_{number}" for number in range(1, recipe.per_pair + 1)]
    return {"anchor": query, **dict.fromkeys(["positive", *negatives], document)}
