"""Networks that score pairs of texts. Imports torch: import this inside functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import transformers
from sentence_transformers import CrossEncoder
from torch import nn

from rankstone.errors import ModelError
from rankstone.runners.transformer import loading
from rankstone.runners.transformer.flops import Costs, costs
from rankstone.runners.transformer.network import Array, Loaded, Network
from rankstone.runners.transformer.tokens import PROBED_QUERY, SECOND, PairTokens, Tokens, token_ids

CHAT = "message"
"""The library's name of the input format with a chat template."""
TASKS = ("sequence-classification", "feature-extraction", "text-generation")


class Scores(nn.Module):
    """(ids, mask) -> (n, 1) scores by the library's modules; the mask is `SECOND` for tokens of a
    pair's second text, as in `PairTokens`."""

    def __init__(self, modules: Sequence[Any], activation: Any, more: dict[str, Any]) -> None:
        super().__init__()
        self.backbone, self.behind = modules[0], nn.ModuleList(modules[1:])
        self.activation, self.more = activation, more
        self.types = "token_type_ids" in modules[0].tokenizer.model_input_names

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        features = {"input_ids": ids, "attention_mask": (mask > 0).long(), **self.more}
        if self.types:
            features["token_type_ids"] = (mask == SECOND).long()
        features = self.backbone(features)
        name = self.backbone.module_output_name
        features[name] = features[name].float()
        for module in self.behind:
            features = module(features)
        scores: torch.Tensor = self.activation(features["scores"])
        return scores


def load(network: Network, instruction: str | None = None) -> Loaded:
    """Load the library's CrossEncoder, without a final sigmoid: it would not change the ranking but
    tie saturated scores.

    Args:
        instruction: for a chat template that takes one; None: the model's own.
    """
    model: Any = loading.opened(network, CrossEncoder)
    _check(model, network, instruction)
    transformer, net = loading.first(model), loading.first(model).auto_model
    own = model.activation_fn
    activation = nn.Identity() if isinstance(own, nn.Sigmoid) else own
    chat = CHAT in transformer.modality_config
    if chat and instruction is None:
        instruction = model.prompts.get(model.default_prompt_name)
    facts = loading.facts(model, library_tokens=chat)
    prompts = {"instruction": instruction} if instruction else {}
    facts = replace(facts, costs=costs(net.base_model), prompts=prompts)

    def oracle(texts: Sequence[str], prompt: str) -> Array:
        pairs = [(PROBED_QUERY, text) for text in texts]
        scores: Array = model.predict(
            pairs, batch_size=len(pairs), activation_fn=activation, show_progress_bar=False
        )
        return scores[:, None]

    more: dict[str, Any] = {"modality": CHAT} if chat else {}
    more |= {"logits_to_keep": 1} if transformer.transformer_task == "text-generation" else {}
    return Loaded(
        model=model,
        network=Scores(list(model), activation, more).eval(),
        facts=facts,
        tokenizer=transformer if chat else transformer.tokenizer,
        oracle=oracle,
        tokens_of=lambda tokens, prompt: paired(tokens, facts.truncation_side),
    )


def paired(tokens: Tokens, side: Any) -> PairTokens:
    return PairTokens(tokens.tokenizer, pad=tokens.pad, limit=tokens.limit, truncation_side=side)


def _check(model: Any, network: Network, instruction: str | None) -> None:
    """Raise ModelError unless the model returns one score, and all its weights were loaded."""
    net, what = loading.first(model).auto_model, f"Model '{network.model.id}'"
    task = loading.first(model).transformer_task
    chat = CHAT in loading.first(model).modality_config
    if task not in TASKS or (task == "text-generation" and not chat):
        raise ModelError(
            f"{what} scores pairs by generating text, and its files do not state the prompt. Name"
            ' it: adapter = "causal_reranker", and scorer.parameters.template.'
        )
    if model.num_labels != 1:
        raise ModelError(f"{what} has {model.num_labels} labels: a scorer needs a model with one.")
    if model.default_prompt_name is not None and not chat:
        raise ModelError(
            f"{what} puts the prompt '{model.default_prompt_name}' before texts, which is not"
            " supported. Remove default_prompt_name from its settings."
        )
    if instruction is not None and not chat:
        raise ModelError(f"{what} takes no instruction. Remove scorer.parameters.instruction.")
    if missing := loading.absent(net):
        raise ModelError(
            f"{what}: no weights '{missing[0]}' in {network.model.folder} ({len(missing)} missing)."
            " Name a model that was trained to classify pairs."
        )
    _check_backend(loading.first(model).tokenizer, network)


class Answers(nn.Module):
    """(ids, mask) -> (n, 1): the difference of two next tokens' logits.

    The next token follows the last of `ids`, which are padded on the left; with `start`, it is a
    decoder's first token after `start`.
    """

    def __init__(self, model: Any, tokens: tuple[int, int], start: int | None) -> None:
        super().__init__()
        self.backbone, self.tokens, self.start = model, tokens, start

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        more: dict[str, Any] = {"logits_to_keep": 1}
        if self.start is not None:
            more = {"decoder_input_ids": torch.full_like(ids[:, :1], self.start)}
        output = self.backbone(input_ids=ids, attention_mask=mask, use_cache=False, **more)
        logits: torch.Tensor = output.logits[:, -1].float()
        yes, no = self.tokens
        return (logits[:, yes] - logits[:, no])[:, None]


class _Plain(NamedTuple):
    """A transformers model with the interface of the library's transformer module, for types that
    the library lacks."""

    auto_model: Any
    tokenizer: Any

    @classmethod
    def of(cls, network: Network, kind: str) -> _Plain:
        """Load the network as `kind`, a transformers class."""
        made: Any = getattr(transformers, kind)
        settings = loading.arguments(network)["model_kwargs"]
        net = made.from_pretrained(network.model.folder, **settings)
        module = cls(net.eval(), loading.tokenizer(network))
        loading.check(module, network)
        return module


def load_answer(
    network: Network,
    words: tuple[str, str],
    prompts: Callable[[Tokens], Tokens],
    *,
    decoder: bool,
) -> Loaded:
    """Load a language model as a scorer: the log-odds of two next tokens.

    Args:
        words: the two tokens, as in the vocabulary.
        prompts: converts tokens of texts to tokens of prompts.
        decoder: True for an encoder-decoder model.
    """
    module: Any = (
        _Plain.of(network, "AutoModelForSeq2SeqLM")
        if decoder
        else loading.plain(network, "text-generation")
    )
    net, made = module.auto_model, module.tokenizer
    _check_backend(made, network)
    tokens = _ids(words, made, network)
    if not decoder:
        start, spent = None, costs(net.base_model)
    else:
        start, spent = decoder_start(net), _encoder_costs(net)
    facts = replace(loading.facts([module], library_tokens=False), costs=spent)
    return Loaded(
        model=[module],
        network=Answers(net, tokens, start).eval(),
        facts=facts,
        tokenizer=made,
        tokens_of=lambda tokens, prompt: prompts(tokens),
    )


def load_writer(network: Network) -> Loaded:
    """Load a causal language model for transformers' `generate`."""
    module: Any = loading.plain(network, "text-generation")
    net = module.auto_model
    facts = replace(loading.facts([module], library_tokens=True), costs=costs(net))
    return Loaded(model=[module], network=net.eval(), facts=facts, tokenizer=module.tokenizer)


def load_seq2seq(network: Network) -> Loaded:
    """Load an encoder-decoder model; its costs are those of the encoder."""
    module: Any = _Plain.of(network, "AutoModelForSeq2SeqLM")
    net = module.auto_model
    facts = replace(loading.facts([module], library_tokens=True), costs=costs(net.get_encoder()))
    return Loaded(model=[module], network=net.eval(), facts=facts, tokenizer=module.tokenizer)


def load_own(network: Network) -> Loaded:
    """Load a model whose own code has a method `rerank`, which tokenises itself."""
    module = _Plain.of(network, "AutoModel")
    net = module.auto_model
    if not callable(getattr(net, "rerank", None)):
        raise ModelError(
            f"Model '{network.model.id}': its class {type(net).__name__} has no method 'rerank'."
            ' Use it by adapter = "cross_encoder", or another scorer.'
        )
    facts = loading.facts([module], library_tokens=True)
    return Loaded(model=[module], network=net, facts=facts, tokenizer=module.tokenizer)


def decoder_start(net: Any) -> int:
    """Return the decoder's start token."""
    stated = (
        getattr(c, "decoder_start_token_id", None) for c in (net.config, net.generation_config)
    )
    return int(next((one for one in stated if one is not None), net.config.pad_token_id))


def _ids(words: tuple[str, str], tokenizer: Any, network: Network) -> tuple[int, int]:
    mend = ", which its prompt asks for. State the model's own prompt: scorer.parameters.template."
    yes, no = token_ids(tokenizer, words, network.model.id, mend)
    return yes, no


def _encoder_costs(net: Any) -> Costs:
    """Return the costs of the encoder and of the cross-attention's keys and values; the decoder
    itself reads one token, which is left out like a pooler."""
    whole = costs(net.get_encoder())
    cross = [m for n, m in net.get_decoder().named_modules() if n.endswith("EncDecAttention")]
    return whole._replace(
        weights=whole.weights + sum(m.k.weight.numel() + m.v.weight.numel() for m in cross)
    )


def _check_backend(tokenizer: Any, network: Network) -> None:
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ModelError(
            f"Model '{network.model.id}': its tokenizer is not one of the library 'tokenizers'."
        )
