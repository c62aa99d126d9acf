"""Types of embedding models, on tiny random checkpoints in the official layouts.

Each is compared with sentence-transformers on the same folder, or with its equation.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

from rankstone.errors import DefinitionError, ModelError
from rankstone.runners.construct import build_runner
from rankstone.runners.encoders.dense import DenseEncoder
from rankstone.runners.encoders.sparse import SparseEncoder
from rankstone.runners.models import locate
from rankstone.runners.unwritten.layouts import layout
from rankstone.runners.unwritten.registry import RETRIEVAL, registered
from rankstone.specs import DEFAULT, EVERY, ModelSpec
from rankstone.workspace import Workspace
from tests import tiny_embedders, tiny_encoders, tiny_models

WORKSPACE = Workspace.find(Path(__file__).resolve().parents[2])
DOCUMENTS = ["the fox of the river", "", "glacier market " * 30, "naïve café 漢字"]
QUERIES = ["which fox crosses the river", "a", ""]


pytestmark = pytest.mark.usefixtures("module_cache")


def here(name: str, folder: Path, task: str = "beir/scifact", **changes: Any) -> Any:
    """Return the runner of a definition on a task, with weights in `folder`."""
    spec = WORKSPACE.method(name).at(folder)
    spec = spec.on_task(task, WORKSPACE.task(task).instruction)
    own = {**spec.parameters, "max_length": 64, "device": "cpu", **changes}
    return build_runner(spec.model_copy(update={"parameters": own}))


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, atol=2e-5)


def last_states(folder: Path, sequences: list[list[int]]) -> np.ndarray:
    """Return the normalised state of the last token of each sequence, one at a time."""
    model = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        states = [model(torch.tensor([ids])).last_hidden_state[0, -1] for ids in sequences]
    return np.stack([(state / state.norm()).numpy() for state in states])


CLAIM = "Given a scientific claim, retrieve documents that support or refute the claim"


@pytest.mark.parametrize("engine", ["torch", pytest.param("openvino", marks=pytest.mark.slow)])
def test_qwen3_pools_the_end_that_its_tokenizer_appends(tmp_path, engine, recwarn):
    words = "Instruct: Given a web search query, retrieve relevant passages\nQuery:"
    tiny_embedders.qwen3(tmp_path / "m", {"query": words, "document": ""})
    runner = here("dense/qwen3-embedding-0.6b", tmp_path / "m", engine=engine)
    peer = SentenceTransformer(str(tmp_path / "m"), device="cpu")
    peer.max_seq_length = 64
    prompt = f"Instruct: {CLAIM}\nQuery:"
    found = runner.encode(QUERIES, "query")
    close(found, peer.encode(QUERIES, prompt=prompt, show_progress_bar=False))
    close(runner.encode(DOCUMENTS, "document"), peer.encode(DOCUMENTS, show_progress_bar=False))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "m")
    given = [tokenizer(prompt + text, add_special_tokens=False)["input_ids"] for text in QUERIES]
    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    close(found, last_states(tmp_path / "m", [[*ids[:63], end] for ids in given]))
    assert not [w for w in recwarn if "documents the query prompt" in str(w.message)]


def test_an_end_that_the_tokenizer_does_not_append_is_stated(tmp_path):
    tiny_embedders.mistral(tmp_path / "m")
    runner = here("dense/e5-mistral-7b-instruct", tmp_path / "m", engine="torch")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "m")
    start, end = tokenizer.convert_tokens_to_ids(["<s>", "</s>"])
    own = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in DOCUMENTS]
    expected = last_states(tmp_path / "m", [[start, *ids[:62], end] for ids in own])
    close(runner.encode(DOCUMENTS, "document"), expected)


def test_embeddinggemma_has_two_maps_behind_its_pooling(tmp_path):
    prompts = {"query": "task: search result | query: ", "document": "title: none | text: "}
    tiny_embedders.gemma(tmp_path / "m", prompts)
    runner = here("dense/embeddinggemma-300m", tmp_path / "m", engine="torch")
    peer = SentenceTransformer(str(tmp_path / "m"), device="cpu")
    peer.max_seq_length = 64
    close(runner.encode(QUERIES, "query"), peer.encode_query(QUERIES, show_progress_bar=False))
    expected = peer.encode_document(DOCUMENTS, show_progress_bar=False)
    close(runner.encode(DOCUMENTS, "document"), expected)
    types = [module["type"] for module in runner.describe()["modules"]]
    assert types == ["Pooling", "Dense", "Dense", "Normalize"]


def test_pooling_leaves_out_the_instruction(tmp_path):
    tiny_encoders.bert(tmp_path / "m")
    prompts = {"query": "search the text: ", "document": ""}
    model = locate(ModelSpec(id="tiny", path=str(tmp_path / "m")))
    runner = DenseEncoder(
        model=model, pooling="mean", prompt_pooled=False, prompts=prompts, engine="torch",
        device="cpu",
    )  # fmt: skip
    peer = SentenceTransformer(str(tmp_path / "m"), device="cpu")
    peer.set_pooling_include_prompt(include_prompt=False)
    close(
        runner.encode(QUERIES, "query"),
        peer.encode(QUERIES, prompt=prompts["query"], normalize_embeddings=True),
    )
    assert runner.describe()["prompt_pooled"] is False


@pytest.mark.parametrize("folded", [False, True])
def test_model2vec_is_a_table_of_token_vectors(tmp_path, folded):
    tiny_embedders.model2vec(tmp_path / "m", folded=folded)
    found = layout(locate(ModelSpec(id="tiny", path=str(tmp_path / "m"))), {})
    defined = WORKSPACE.method("dense/potion-retrieval-32m")
    assert (found.adapter, found.parameters) == (
        "static", {**defined.parameters, "similarity": "cosine"},
    )  # fmt: skip
    runner = build_runner(defined.at(tmp_path / "m"))
    texts = [text for text in DOCUMENTS if text]
    peer = SentenceTransformer(str(tmp_path / "m"), device="cpu")
    close(runner.encode(texts, "document"), peer.encode(texts, show_progress_bar=False))


def test_pinned_code_of_another_repository_makes_the_model(tmp_path, monkeypatch):
    """transformers uses a folder with the repository's name in place of the repository."""
    tiny_encoders.modular_star_encoder(tmp_path / "m")
    name = "dense/modularstarencoder-18"
    beside = here(name, tmp_path / "m", engine="torch").encode(QUERIES, "query")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some" / "where").mkdir(parents=True)
    for path in (tmp_path / "m").glob("*.py"):
        path.rename(tmp_path / "some" / "where" / path.name)
    settings = tmp_path / "m" / "config.json"
    for module in ("configuration_tiny", "modeling_tiny"):
        written = settings.read_text().replace(f'"{module}', f'"some/where--{module}')
        settings.write_text(written)
    for code in ("", "some/where", "some/where@main", f"some/other@{'a' * 40}"):
        with pytest.raises(DefinitionError, match=r'parameters\.code = "some/where@COMMIT"'):
            here(name, tmp_path / "m", engine="torch", code=code).encode(["a"], "query")
    pinned = here(name, tmp_path / "m", engine="torch", code=f"some/where@{'a' * 40}")
    close(pinned.encode(QUERIES, "query"), beside)


def test_tables_of_a_models_own_code_are_those_that_it_computes(tmp_path):
    """transformers 5 leaves non-persistent buffers of remote code uninitialised."""
    stored = "self.register_buffer('table', torch.arange(1.0, 17.0), persistent=False)"
    vectors = {}
    for name, table in (("stored", "self.table"), ("computed", "torch.arange(1.0, 17.0)")):
        tiny_encoders.modular_star_encoder(tmp_path / name)
        path = tmp_path / name / "modeling_tiny.py"
        code = path.read_text().replace("self.words(input_ids)", f"self.words(input_ids) * {table}")
        if name == "stored":
            code = code.replace("self.post_init()", f"{stored}\n        self.post_init()")
        path.write_text(code)
        runner = here("dense/modularstarencoder-18", tmp_path / name, engine="torch")
        vectors[name] = runner.encode(QUERIES, "query")
    close(vectors["stored"], vectors["computed"])


MAPS = {"layers.0.self_attn.q_proj": (24, 24), "layers.1.mlp.up_proj": (32, 24)}


@pytest.fixture
def adapted(tmp_path):
    """A base model, two adapters, and the base with each of them merged by hand."""
    tiny_embedders.mistral(tmp_path / "base")
    for seed, role in enumerate(("document", "query")):
        tiny_embedders.lora(tmp_path / role, MAPS, seed, use_rslora=role == "query")
        merged = AutoModel.from_pretrained(tmp_path / "base")
        from safetensors.torch import load_file

        tensors = load_file(tmp_path / role / "adapter_model.safetensors")
        for path, module in merged.named_modules():
            if path in MAPS:
                down, up = (tensors[f"base_model.model.{path}.lora_{x}.weight"] for x in "AB")
                scale = 6 / np.sqrt(3) if role == "query" else 6 / 3
                change = np.einsum("or,ri->oi", up.numpy(), down.numpy()) * scale
                module.weight.data += torch.from_numpy(change).float()
        merged.save_pretrained(tmp_path / f"merged-{role}")
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "base")
        tokenizer.save_pretrained(tmp_path / f"merged-{role}")
    return tmp_path


def model_in(folder: Path) -> Any:
    return locate(ModelSpec(id=folder.name, path=str(folder)))


def test_an_adapter_by_role_is_merged(adapted):
    lora, query_lora = (model_in(adapted / role) for role in ("document", "query"))
    settings: dict[str, Any] = {"pooling": "last", "engine": "torch", "device": "cpu"}
    base = model_in(adapted / "base")
    runner = DenseEncoder(model=base, lora=lora, query_lora=query_lora, **settings)
    one = DenseEncoder(model=base, lora=lora, **settings)
    for role in ("query", "document"):
        merged = DenseEncoder(model=model_in(adapted / f"merged-{role}"), **settings)
        close(runner.encode(QUERIES, role), merged.encode(QUERIES, role))
    close(one.encode(QUERIES, "query"), one.encode(QUERIES, "document"))
    described = runner.describe()
    assert described["lora"]["files"] == lora.files
    assert described["query_model"]["lora"]["files"] == query_lora.files


@pytest.mark.parametrize(
    ("maps", "settings", "fault"),
    [
        (MAPS, {"use_dora": True}, "states 'use_dora'"),
        (MAPS, {"modules_to_save": ["lm_head"]}, "states 'modules_to_save'"),
        (MAPS, {"peft_type": "IA3"}, "states 'peft_type'"),
        (MAPS, {"bias": "all"}, "states 'bias'"),
        ({"layers.9.self_attn.q_proj": (24, 24)}, {}, r"no map 'layers\.9\.self_attn\.q_proj'"),
        ({"layers.0.self_attn.q_proj": (24, 32)}, {}, "no map"),
        ({}, {}, "hold nothing"),
    ],
)
def test_what_of_an_adapter_is_not_followed_is_refused(tmp_path, maps, settings, fault):
    tiny_embedders.mistral(tmp_path / "base")
    tiny_embedders.lora(tmp_path / "lora", maps, 0, **settings)
    runner = DenseEncoder(
        model=model_in(tmp_path / "base"), lora=model_in(tmp_path / "lora"), pooling="last",
        engine="torch", device="cpu",
    )  # fmt: skip
    with pytest.raises(ModelError, match=fault):
        runner.encode(["a"], "query")


def test_queries_without_expansion_keep_their_own_tokens(tmp_path):
    tiny_models.write_masked(tmp_path / "m")
    given: dict[str, Any] = {
        "model": model_in(tmp_path / "m"), "max_length": 64, "engine": "torch", "device": "cpu",
    }  # fmt: skip
    whole = SparseEncoder(**given).encode(QUERIES, "query")
    lexical = SparseEncoder(own_tokens=["query"], **given)
    found = lexical.encode(QUERIES, "query")
    tokenizer = tiny_models.tokenizer()
    for row, text in enumerate(QUERIES):
        own = set(tokenizer(text)["input_ids"])
        expected = [w if token in own else 0 for token, w in enumerate(whole[row])]
        np.testing.assert_array_equal(found[row], expected)
    close(
        lexical.encode(DOCUMENTS, "document").weights,
        SparseEncoder(**given).encode(DOCUMENTS, "document").weights,
    )


class InstructSentenceTransformerModel:
    """Stand-in with the name of MTEB's loader."""


def entry(**values: Any) -> SimpleNamespace:
    usual = {"name": "o/n", "use_instructions": True, "loader": InstructSentenceTransformerModel}
    return SimpleNamespace(**{**usual, **values})


def test_prompts_are_those_that_mteb_composes(monkeypatch):
    """As composed by MTEB's `get_task_instruction` and its loader."""
    types = ModuleType("mteb.types")
    roles = SimpleNamespace(query="query", document="document")
    types.PromptType = roles  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mteb.types", types)
    words = {DEFAULT: RETRIEVAL}
    template = "Instruct: {instruction}\nQuery: "
    of_text = registered("x", entry(loader_kwargs={"instruction_template": template}))
    assert of_text == ({"prompts": {"query": template, "document": ""}}, words)

    def gritlm(instruction: str, role: str) -> str:
        return f"<|user|>\n{instruction}\n<|embed|>\n" if instruction else "<|embed|>\n"

    stated = {"instruction_template": gritlm, "include_prompt": False, "add_eos_token": True}
    prompts = {"query": "<|user|>\n{instruction}\n<|embed|>\n", "document": "<|embed|>\n"}
    assert registered("x", entry(loader_kwargs=stated)).parameters == {
        "prompts": prompts, "prompt_pooled": False, "tokens_after": ["eos_token"],
    }  # fmt: skip
    stated["apply_instruction_to_passages"] = False
    assert registered("x", entry(loader_kwargs=stated)).parameters["prompts"]["document"] == ""
    as_it_is = registered("x", entry(loader_kwargs={}))
    assert as_it_is.parameters["prompts"]["query"] == "{instruction}"
    own = {"model_prompts": {"query": "q: ", "Retrieval-query": "r: "}}
    plain = registered("x", entry(loader=dict, loader_kwargs=own))
    assert plain == ({"prompts": {"query": "r: ", "document": ""}}, {})
    assert registered("x", entry(loader=dict)) == ({}, {}), "the model's own prompts"
    stated["prompts_dict"] = {"ArguAna": "refute", "SciFact": {"query": "prove"}, "query": "all"}
    assert registered("x", entry(loader_kwargs=stated)).instructions == {
        DEFAULT: RETRIEVAL, EVERY: "all", "beir/arguana": "refute", "beir/scifact": "prove",
    }  # fmt: skip
    stated["apply_instruction_to_passages"] = True
    with pytest.raises(DefinitionError, match=r"by prompts_dict, also of passages"):
        registered("x", entry(loader_kwargs=stated))


REVISIONS = {
    "dense/gte-multilingual-base": (
        "Alibaba-NLP/gte-multilingual-base",
        "ca1791e0bcc104f6db161f27de1340241b13c5a4",
    ),
    "dense/nomic-embed-text-v2-moe": (
        "nomic-ai/nomic-embed-text-v2-moe",
        "1066b6599d099fbb93dfcb64f9c37a7c9e503e85",
    ),
    "dense/all-mpnet-base-v2": (
        "sentence-transformers/all-mpnet-base-v2",
        "9a3225965996d404b775526de6dbfe85d3368642",
    ),
    "dense/arctic-embed-l-v2.0": (
        "Snowflake/snowflake-arctic-embed-l-v2.0",
        "edc2df7b6c25794b340229ca082e7c78782e6374",
    ),
    "dense/arctic-embed-m-v1.5": (
        "Snowflake/snowflake-arctic-embed-m-v1.5",
        "97eab2e17fcb7ccb8bb94d6e547898fa1a6a0f47",
    ),
    "dense/bge-large-en-v1.5": (
        "BAAI/bge-large-en-v1.5",
        "d4aa6901d3a41ba39fb536a557fa166f842b0e09",
    ),
    "dense/bge-m3": ("BAAI/bge-m3", "5617a9f61b028005a4858fdac845db406aefb181"),
    "dense/bge-small-en-v1.5": (
        "BAAI/bge-small-en-v1.5",
        "5c38ec7c405ec4b44b94cc5a9bb96e735b38267a",
    ),
    "dense/e5-mistral-7b-instruct": (
        "intfloat/e5-mistral-7b-instruct",
        "07163b72af1488142a360786df853f237b1a3ca1",
    ),
    "dense/embeddinggemma-300m": (
        "google/embeddinggemma-300m",
        "64614b0b8b64f0c6c1e52b07e4e9a4e8fe4d2da2",
    ),
    "dense/granite-embedding-english-r2": (
        "ibm-granite/granite-embedding-english-r2",
        "6e7b8ce0e76270394ac4669ba4bbd7133b60b7f9",
    ),
    "dense/granite-embedding-small-english-r2": (
        "ibm-granite/granite-embedding-small-english-r2",
        "54a8d2616a0844355a5164432d3f6dafb37b17a3",
    ),
    "dense/gte-modernbert-base": (
        "Alibaba-NLP/gte-modernbert-base",
        "7ca8b4ca700621b67618669f5378fe5f5820b8e4",
    ),
    "dense/multilingual-e5-base": (
        "intfloat/multilingual-e5-base",
        "d13f1b27baf31030b7fd040960d60d909913633f",
    ),
    "dense/multilingual-e5-large": (
        "intfloat/multilingual-e5-large",
        "ab10c1a7f42e74530fe7ae5be82e6d4f11a719eb",
    ),
    "dense/multilingual-e5-large-instruct": (
        "intfloat/multilingual-e5-large-instruct",
        "baa7be480a7de1539afce709c8f13f833a510e0a",
    ),
    "dense/multilingual-e5-small": (
        "intfloat/multilingual-e5-small",
        "fd1525a9fd15316a2d503bf26ab031a61d056e98",
    ),
    "dense/mxbai-embed-large-v1": (
        "mixedbread-ai/mxbai-embed-large-v1",
        "990580e27d329c7408b3741ecff85876e128e203",
    ),
    "dense/potion-retrieval-32m": (
        "minishlab/potion-retrieval-32M",
        "6fc8051fab2a1e0ee76689cf08c853792ac285e7",
    ),
    "dense/qwen3-embedding-0.6b": (
        "Qwen/Qwen3-Embedding-0.6B",
        "b22da495047858cce924d27d76261e96be6febc0",
    ),
    "dense/qwen3-embedding-4b": (
        "Qwen/Qwen3-Embedding-4B",
        "636cd9bf47d976946cdbb2b0c3ca0cb2f8eea5ff",
    ),
    "dense/qwen3-embedding-8b": (
        "Qwen/Qwen3-Embedding-8B",
        "4e423935c619ae4df87b646a3ce949610c66241c",
    ),
    "sparse/bge-m3-sparse": ("BAAI/bge-m3", "5617a9f61b028005a4858fdac845db406aefb181"),
    "late_interaction/bge-m3-multi-vector": (
        "BAAI/bge-m3",
        "5617a9f61b028005a4858fdac845db406aefb181",
    ),
}
"""Definition -> the model and its commit in MTEB's registry (mteb 2.26.24)."""
BGE = "Represent this sentence for searching relevant passages: "
PROMPTS = {
    "dense/nomic-embed-text-v2-moe": ("search_query: ", "search_document: "),
    "dense/arctic-embed-m-v1.5": (BGE, ""),
    "dense/bge-large-en-v1.5": (BGE, ""),
    "dense/bge-small-en-v1.5": (BGE, ""),
    "dense/mxbai-embed-large-v1": (BGE, ""),
    "dense/multilingual-e5-base": ("query: ", "passage: "),
    "dense/multilingual-e5-large": ("query: ", "passage: "),
    "dense/multilingual-e5-small": ("query: ", "passage: "),
    "dense/multilingual-e5-large-instruct": (f"Instruct: {CLAIM}\nQuery: ", ""),
    "dense/e5-mistral-7b-instruct": (f"Instruct: {CLAIM}\nQuery: ", ""),
    "dense/qwen3-embedding-0.6b": (f"Instruct: {CLAIM}\nQuery:", ""),
    "dense/qwen3-embedding-4b": (f"Instruct: {CLAIM}\nQuery:", ""),
    "dense/qwen3-embedding-8b": (f"Instruct: {CLAIM}\nQuery:", ""),
}
"""Prompts of queries and documents on SciFact, by the same registry."""


def test_definitions_state_model_revision_and_prompts():
    task = WORKSPACE.task("beir/scifact")
    found, prompts = {}, {}
    for name in REVISIONS:
        spec = WORKSPACE.method(name).on_task(task.name, task.instruction)
        assert spec.model is not None
        assert spec.licence
        assert spec.citation
        found[name] = (spec.model.id, spec.model.revision)
        prompts[name] = tuple(spec.parameters.get("prompts", {}).values())
    assert found == REVISIONS
    assert {name: prompts[name] for name in PROMPTS} == PROMPTS
