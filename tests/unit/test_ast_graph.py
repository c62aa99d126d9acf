"""The graph network over syntax trees: against dense matrices, `ast.walk`, and the transformer."""

from __future__ import annotations

import ast
import math
import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("accelerate", reason="needs the extra 'train'")

import torch

from rankstone.errors import ModelError, RankstoneWarning
from rankstone.runners.construct import build_runner
from rankstone.runners.encoders.ast_graph.graph_network import (
    Graph,
    GraphNetwork,
    child_counts,
    kept,
    subgraph,
)
from rankstone.runners.encoders.ast_graph.trees import parsed, trees_of
from tests.training_collection import DENSE, method, recipe_run, write_with_models

names = st.sampled_from(["a", "b", "total", "rows"])
expressions = st.recursive(
    names | st.integers(0, 9).map(str),
    lambda inner: st.one_of(
        st.builds("({} + {})".format, inner, inner),
        st.builds("f({}, key={})".format, inner, inner),
        st.builds("[{}, {}, {}]".format, inner, inner, inner),
        st.builds("{}.x".format, names),
    ),
    max_leaves=6,
)
statements = st.one_of(
    st.builds("{} = {}".format, names, expressions),
    st.builds("return {}".format, expressions),
    st.builds("if {}:\n    {} = {}".format, expressions, names, expressions),
)
programs = st.lists(statements, min_size=1, max_size=3).map(
    lambda body: "def g(a, b=1):\n" + textwrap.indent("\n".join(body), "    ")
)
VOCABULARY = 11


class Letters:
    """A tokenizer: one token per character."""

    def __call__(self, texts: list[str], max_length: int, **_: Any) -> dict[str, Any]:
        return {"input_ids": [[ord(c) % VOCABULARY for c in text][:max_length] for text in texts]}


def network(share: float = 0.5) -> GraphNetwork:
    torch.manual_seed(3)
    made = GraphNetwork(5, 4, layers=2, width=6, share=share).double()
    torch.nn.init.normal_(made.out.weight)
    return made.eval()


def embeddings() -> Any:
    return torch.randn(VOCABULARY, 5, generator=torch.Generator().manual_seed(1)).double()


def run(made: GraphNetwork, texts: list[str]) -> Any:
    with torch.inference_mode():
        return made(made.graph(texts, Letters()), embeddings(), len(texts)).numpy()


def walked(tree: ast.AST) -> tuple[list[ast.AST], np.ndarray]:
    """Return the nodes in source order, and their matrix parent -> child, recursively."""
    nodes, edges = list[ast.AST](), list[tuple[int, int]]()

    def visit(node: ast.AST, parent: int | None) -> None:
        if isinstance(node, (ast.Load, ast.Store, ast.Del)):
            return
        nodes.append(node)
        here = len(nodes) - 1
        if parent is not None:
            edges.append((parent, here))
        for child in ast.iter_child_nodes(node):
            visit(child, here)

    visit(tree, None)
    matrix = np.zeros((len(nodes), len(nodes)))
    for parent, child in edges:
        matrix[parent, child] = 1
    return nodes, matrix


def dense(made: GraphNetwork, text: str) -> np.ndarray:
    """Return a text's vector by dense matrices."""
    weights = {name: value.detach().numpy() for name, value in made.named_parameters()}
    nodes, below = walked(ast.parse(text))
    table, rows = embeddings().numpy(), list[np.ndarray]()
    for node in nodes:
        row = weights["kind.weight"][1 + made.known.index(type(node).__name__)]
        own = trees_of([text]).words[len(rows)]
        if own:
            tokens = [ord(c) % VOCABULARY for c in own][:8]
            row = row + weights["word.weight"] @ table[tokens].mean(0)
        rows.append(row)
    states, found = np.array(rows), list[np.ndarray]()
    for layer in range(2):
        whole = below + below.T + np.eye(len(below))
        root = np.diag(whole.sum(1) ** -0.5)
        states = root @ whole @ root @ states @ weights[f"layers.{layer}.weight"].T
        states = np.maximum(states + weights[f"layers.{layer}.bias"], 0)
        found.append(states.max(0))
        ranked = sorted(range(len(below)), key=lambda n, b=below: (-b[n].sum(), n))
        chosen = sorted(ranked[: math.ceil(made.share * len(below))])
        states, below = states[chosen], below[np.ix_(chosen, chosen)]
    return weights["out.weight"] @ np.concatenate(found)


@settings(max_examples=12, deadline=None)
@given(st.lists(programs, min_size=1, max_size=3), st.sampled_from([0.3, 0.5, 1.0]))
def test_batches_are_as_dense_matrices_say(texts: list[str], share: float) -> None:
    made = network(share)
    found = run(made, ["no python !", *texts])
    assert not found[0].any()
    for row, text in zip(found[1:], texts, strict=True):
        np.testing.assert_allclose(row, dense(made, text), atol=1e-10)
        np.testing.assert_allclose(row, run(made, [text])[0], atol=1e-10)


@settings(max_examples=12, deadline=None)
@given(programs)
def test_children_are_those_of_ast_walk(text: str) -> None:
    trees = trees_of(["", text])
    counts = child_counts(torch.from_numpy(trees.parents)).tolist()
    expected = [
        (type(node).__name__,
         sum(not isinstance(c, ast.expr_context) for c in ast.iter_child_nodes(node)))
        for node in ast.walk(ast.parse(text)) if not isinstance(node, ast.expr_context)
    ]  # fmt: skip
    assert sorted(zip(trees.kinds, counts, strict=True)) == sorted(expected)
    assert set(trees.owners.tolist()) == {1}


@settings(max_examples=12, deadline=None)
@given(programs, st.randoms(use_true_random=False))
def test_storage_order_of_nodes_changes_nothing(text: str, random: Any) -> None:
    made = network(1.0)
    graph = made.graph([text], Letters())
    order = list(range(len(graph.kinds)))
    random.shuffle(order)
    new = {old: at for at, old in enumerate(order)}
    ends = [*graph.offsets.tolist()[1:], len(graph.tokens)]
    tokens = [graph.tokens[graph.offsets[n] : ends[n]] for n in order]
    sizes = torch.tensor([len(one) for one in tokens])
    moved = Graph(
        graph.kinds[order],
        torch.tensor([new.get(p, -1) for p in graph.parents[order].tolist()]),
        graph.owners[order],
        torch.cat(tokens),
        sizes.cumsum(0) - sizes,
    )
    with torch.inference_mode():
        found = made(moved, embeddings(), 1).numpy()
    np.testing.assert_allclose(found, run(made, [text]), atol=1e-10)


def test_nodes_with_most_children_are_kept_and_of_equal_ones_the_first() -> None:
    #        0        5
    #     1  2  3     6
    #        4
    parents = torch.tensor([-1, 0, 0, 0, 2, -1, 5])
    owners = torch.tensor([0, 0, 0, 0, 0, 1, 1])
    mask = kept(parents, owners, 0.6)  # 3 of 5: 0, 2, and the first leaf; 2 of 2
    assert mask.tolist() == [True, True, True, False, False, True, True]
    assert subgraph(mask, parents).tolist() == [-1, 0, 0, -1, 3]
    assert kept(parents, owners, 0.5).sum() == 3 + 1
    assert kept(torch.full((30,), -1), torch.zeros(30, dtype=torch.long), 0.1).sum() == 3
    orphans = torch.tensor([False, True, False, False, True, True, True])
    assert subgraph(orphans, parents).tolist() == [-1, -1, -1, 2]


def test_texts_that_have_no_tree() -> None:
    for text in ("", "# a comment", "def f(:", "a\0b", "(" * 5000, "x = " + "-" * 100_000 + "1"):
        assert parsed(text) is None
    assert parsed("    def f(self):\n        return '\\d'\n") is not None


def test_every_constant_is_a_text_that_tokenizers_accept() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    words = trees_of(["low = '\\ud800'", f"most = 0x{'f' * 4000}", "x = b'\\xff', 1.5, None"]).words
    empty = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={}, merges=[]))
    assert len(empty.encode_batch(words)) == len(words)
    assert "f" * 4000 in words


def test_unknown_classes_of_nodes_share_a_row() -> None:
    made = GraphNetwork(5, 4, layers=1, width=6, share=1.0, kinds=["Module"])
    assert made.graph(["a"], Letters()).kinds.tolist() == [1, 0, 0]


CODE = [f"def {w}(x):\n    return {w}.go(x, {n})" for n, w in enumerate(["fox", "bear", "owl"])]
BASE = {"data": ["own"], "repeated_queries": "drop", "steps": 2, "batch": 4, "learning_rate": 1e-3,
        "loss": "multiple_negatives_ranking"}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, module_cache: None) -> Path:
    found = write_with_models(tmp_path_factory.mktemp("graphs"))
    corpus = found / "data" / "tiny" / "animals" / "corpus.jsonl"
    python = re.sub(r"the (\w+) crosses the (\w+)", r"\1.crosses(\2)", corpus.read_text())
    corpus.write_text(python)
    return found


def spec(root: Path, name: str, **more: Any) -> Any:
    model = {"id": "start", "path": str(root / "dense")}
    return method(root, name, {"adapter": "ast_graph", "parameters": DENSE, "model": model, **more})


def test_a_recipe_trains_the_graph_network_with_the_transformer(root: Path) -> None:
    trained = recipe_run(root, spec(root, "graphed", training=BASE)).trained()
    runner: Any = build_runner(trained)
    plain: Any = build_runner(trained.model_copy(update={"adapter": "dense"}))
    with pytest.warns(RankstoneWarning, match="1 of 4 documents are not Python"):
        found = runner.encode([*CODE, "the fox crosses"], "document")
    alone = plain.encode([*CODE, "the fox crosses"], "document")
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found[3], alone[3], atol=1e-6)
    assert (np.abs(found - alone).max(axis=1)[:3] > 1e-5).all()
    for row, code in zip(found[:3], CODE, strict=True):
        np.testing.assert_allclose(runner.encode([code], "document")[0], row, atol=1e-5)
    np.testing.assert_array_equal(runner.encode(CODE, "query"), plain.encode(CODE, "query"))
    assert runner.encode([], "document").shape == (0, found.shape[1])
    np.testing.assert_allclose(runner.encode(CODE, "document"), library(trained, CODE), atol=1e-5)


def test_a_prompt_is_no_part_of_the_tree(root: Path) -> None:
    prompted = {"parameters": {**DENSE, "prompts": {"query": "", "document": "passage: "}}}
    trained = recipe_run(root, spec(root, "prompted", training=BASE, **prompted)).trained()
    plain: Any = build_runner(trained.model_copy(update={"adapter": "dense"}))
    difference = build_runner(trained).encode(CODE, "document") - plain.encode(CODE, "document")
    assert (np.abs(difference).max(axis=1) > 1e-5).all()


def library(trained: Any, texts: list[str]) -> Any:
    """Return vectors by the module that is trained, loaded from the trained folder."""
    from rankstone.training.graphs import GraphedText

    module = GraphedText.load(trained.model.path).eval()
    with torch.inference_mode():
        found = module(module.preprocess(texts, task="document"))["sentence_embedding"].numpy()
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_untrained_weights_give_an_error(root: Path) -> None:
    runner: Any = build_runner(spec(root, "untrained"))
    with pytest.raises(ModelError, match=r"graph\.pt.*\[training\]"):
        runner.encode(CODE, "document")
