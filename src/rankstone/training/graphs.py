"""Training of a graph network over syntax trees with its transformer. Imports torch: import this
inside functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import InputModule

from rankstone.runners.encoders.ast_graph.graph_network import Graph, GraphNetwork
from rankstone.runners.transformer.loading import first

PREFIX = "graph_"


class GraphedText(InputModule):
    """All modules of a dual encoder, and the graph network that documents pass too."""

    save_in_root = False
    tokenizer: Any

    def __init__(self, text: Any, network: GraphNetwork) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.text, self.network, self.tokenizer = text, network, first(text).tokenizer

    def preprocess(
        self, inputs: Any, prompt: str | None = None, task: str | None = None, **_: Any
    ) -> dict[str, Any]:
        features = dict(self.text.preprocess(inputs, prompt=prompt))
        if task != "document":
            return features
        graph = self.network.graph(list(inputs), self.tokenizer)
        return {**features, **{PREFIX + name: part for name, part in graph._asdict().items()}}

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        features = self.text(features)
        if f"{PREFIX}kinds" not in features:
            return features
        vectors = features["sentence_embedding"]
        graph = Graph(*(features[PREFIX + name] for name in Graph._fields))
        embeddings = first(self.text).auto_model.get_input_embeddings().weight
        added = self.network(graph, embeddings, len(vectors))
        return {**features, "sentence_embedding": vectors + added}

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        self.write(Path(output_path))

    def write(self, folder: Path) -> None:
        """Write the encoder as sentence-transformers does, and the graph network beside it."""
        self.text.save_pretrained(str(folder), create_model_card=False)
        self.network.save(folder)

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", *_: Any, **__: Any) -> GraphedText:
        folder = Path(model_name_or_path) / subfolder
        text = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        return cls(text, GraphNetwork.load(folder))
