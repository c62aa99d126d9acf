"""Training of a sequence-to-sequence model to generate docids (DSI).

Tay et al., Transformer Memory as a Differentiable Search Index, NeurIPS 2022 (arXiv:2202.06991);
Pradeep et al., EMNLP 2023 (arXiv:2305.11841). Imports torch: import this inside functions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from sentence_transformers.base.modules import InputModule
from torch import Tensor, nn
from transformers import BertTokenizer

from rankstone.errors import DefinitionError
from rankstone.runners.protocols import STRICT
from rankstone.runners.search.generative.docids import sequences, write
from rankstone.training.docids import collection

Count = Annotated[int, Field(ge=1)]
IGNORED = -100
"""Label of padding after the end of a docid, ignored by the losses of transformers."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Sizes:
    """Sizes of a randomly initialised T5, by the keys of transformers' `T5Config`."""

    vocabulary: Count = 4096
    """Number of word pieces, single characters and docids excluded."""
    d_model: Count = 128
    d_kv: Count = 32
    d_ff: Count = 256
    num_layers: Count = 2
    num_decoder_layers: Count = 1
    num_heads: Count = 4
    dropout_rate: Annotated[float, Field(ge=0, lt=1)] = 0.1
    initializer_factor: Annotated[float, Field(gt=0)] = 1.0

    def pieces(self, tokenizer: Any, texts: Sequence[str]) -> Any:
        """Return a BERT tokenizer with the word pieces of `tokenizer` most frequent in `texts`.

        All ASCII characters are kept, so that every ASCII word can be tokenized.
        """
        known: dict[str, int] = tokenizer.get_vocab()
        if not isinstance(tokenizer, BertTokenizer):
            raise DefinitionError(
                '[training]: start = "random" needs the word pieces of a BERT tokenizer, found'
                f" '{type(tokenizer).__name__}'. Name a BERT in [model]."
            )
        found = Counter(
            id for ids in tokenizer(list(texts), verbose=False)["input_ids"] for id in ids
        )
        always = {*tokenizer.all_special_tokens, *filter(_is_character, known)}
        order = sorted(known, key=lambda piece: (-found[known[piece]], known[piece]))
        kept = [piece for piece in order if piece not in always and found[known[piece]]]
        every = sorted({*always, *kept[: self.vocabulary]}, key=known.__getitem__)
        lower = tokenizer.init_kwargs.get("do_lower_case", True)
        return BertTokenizer(vocab={p: n for n, p in enumerate(every)}, do_lower_case=lower)

    def network(self, tokenizer: Any) -> Any:
        """Return the network with random weights, for the vocabulary of `tokenizer`."""
        from transformers import T5Config, T5ForConditionalGeneration

        pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id or tokenizer.sep_token_id
        sizes = {key: value for key, value in vars(self).items() if key != "vocabulary"}
        made: Any = T5Config
        config = made(
            **sizes,
            vocab_size=len(tokenizer),
            pad_token_id=pad,
            decoder_start_token_id=pad,
            eos_token_id=end,
        )
        return T5ForConditionalGeneration(config)


def _is_character(piece: str) -> bool:
    return len(piece.removeprefix("##")) == 1 and piece.isascii()


class Writer(InputModule):
    """Sequence-to-sequence model as a module of sentence-transformers."""

    tokenizer: Any

    def __init__(self, network: Any, tokenizer: Any, limit: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.network, self.tokenizer, self.limit = network, tokenizer, limit

    def preprocess(self, inputs: Any, prompt: str | None = None, **_: Any) -> dict[str, Any]:
        asked = [(prompt or "") + text for text in inputs]
        return dict(
            self.tokenizer(
                asked, truncation=True, max_length=self.limit, padding=True, return_tensors="pt"
            )
        )

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        return features

    def get_config_dict(self) -> dict[str, Any]:
        return {"limit": self.limit}

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        self.network.save_pretrained(output_path)
        self.tokenizer.save_pretrained(output_path)

    @classmethod
    def load(cls, model_name_or_path: str, *_: Any, **__: Any) -> Writer:
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        network: Any = AutoModelForSeq2SeqLM.from_pretrained(model_name_or_path)
        return cls(network, AutoTokenizer.from_pretrained(model_name_or_path), 0)


class DocidCrossEntropy(nn.Module):
    """Cross-entropy of the tokens of a document's docid, given one of the document's inputs.

    This is the loss that transformers computes from labels.

    Args:
        inputs: `InputSettings` of the inputs of each document; read when the pairs are made.
        network: `Sizes` of a new network; read when training starts.
    """

    def __init__(
        self, model: Any, documents: Any, runner: Any, seed: int,
        inputs: Any = None, network: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.model = model
        context = collection(documents, seed)
        self._names = dict(zip(context.ids, runner.names(context), strict=True))
        tokens = sequences(
            model[0].tokenizer, runner.docids, list(self._names.values()), runner.model.id
        )
        written = [torch.tensor(one) for one in tokens]
        self.docids: Tensor
        padded = nn.utils.rnn.pad_sequence(written, batch_first=True, padding_value=IGNORED)
        self.register_buffer("docids", padded)

    def forward(self, sentence_features: Any, labels: Tensor) -> Tensor:
        """Return the loss; `labels` are positions of documents."""
        (features,) = sentence_features
        asked = {key: features[key] for key in ("input_ids", "attention_mask")}
        loss: Tensor = self.model[0].network(**asked, labels=self.docids[labels]).loss
        return loss

    def save(self, folder: Path) -> None:
        """Write the docid of each document beside the weights."""
        write(folder, self._names)
