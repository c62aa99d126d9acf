"""Released dense encoders: their properties, and their vectors against reference code.

Weights are tiny and random, in the official layout (`tests/tiny_encoders.py`). The references use
plain transformers, following the model cards or the authors' code.
"""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import torch.nn.functional as F  # noqa: N812
from transformers import AutoModel, AutoTokenizer, BertModel

from rankstone.benchmarks.corpus import text_template
from rankstone.errors import DefinitionError, ModelError
from rankstone.runners.construct import build_runner, untrained
from rankstone.specs import MethodSpec
from rankstone.workspace import Workspace
from tests import tiny_encoders as tiny

WORKSPACE = Workspace.find(Path(__file__).resolve().parents[2])
TEXTS = [
    "the fox", "", "A bear of the Glacier  market.", "def x(y): return y", "river [SEP] engine",
    "print the title of the document " * 100, "it’s “a” dog – river", "fox " * 40,
]  # fmt: skip


class Facts(NamedTuple):
    """Published facts about a checkpoint: pooling, unit vectors, tokens and prefixes by role."""

    write: Any
    pooling: str
    unit: bool
    query: tuple[int, str] = (512, "")
    document: tuple[int, str] = (512, "")


BGE = "Represent this sentence for searching relevant passages: "
PLAIN = {
    "tas-b": Facts(tiny.distilbert, "cls", False, (30, ""), (200, "")),
    "contriever": Facts(tiny.bert, "mean", False),
    "contriever-msmarco": Facts(tiny.bert, "mean", False),
    "retromae-beir": Facts(tiny.bert, "cls", False, (32, ""), (144, "")),
    "retromae-msmarco-finetune": Facts(tiny.bert, "cls", False, (32, ""), (140, "")),
    "retromae-msmarco-distill": Facts(tiny.bert, "cls", False, (32, ""), (140, "")),
    "dexml-amazontitles-1.3m": Facts(tiny.distilbert, "cls", True, (32, ""), (32, "")),
    "dexml-amazontitles-131k": Facts(tiny.distilbert, "cls", True, (32, ""), (32, "")),
    "dexml-eurlex-4k": Facts(tiny.distilbert, "cls", True, (128, ""), (128, "")),
    "e5-small-v2": Facts(tiny.bert, "mean", True, (512, "query: "), (512, "passage: ")),
    "e5-base-v2": Facts(tiny.bert, "mean", True, (512, "query: "), (512, "passage: ")),
    "e5-large-v2": Facts(tiny.bert, "mean", True, (512, "query: "), (512, "passage: ")),
    "bge-base-en-v1.5": Facts(tiny.bert, "cls", True, (512, BGE), (512, "")),
    "all-minilm-l6-v2": Facts(tiny.bert, "mean", True, (256, ""), (256, "")),
}
BOTH_ENGINES = ("tas-b", "contriever", "e5-base-v2")


pytestmark = pytest.mark.usefixtures("module_cache")


def runner_of(name: str, folder: Path, query_folder: Path | None = None, **parameters: Any) -> Any:
    """Return the runner of a definition with weights from `folder` and changed parameters."""
    spec = WORKSPACE.method(f"dense/{name}")
    assert spec.model is not None
    models = {"model": spec.model.model_copy(update={"path": str(folder), "sha256": {}})}
    if query_folder is not None:
        assert spec.query_model is not None
        models["query_model"] = spec.query_model.model_copy(update={"path": str(query_folder)})
    given = {"device": "cpu", **({"engine": "torch"} | spec.parameters), **parameters}
    return build_runner(spec.model_copy(update={**models, "parameters": given}))


def states(folder: Path, texts: list[str], length: int, model: Any = None) -> tuple[Any, Any]:
    """Return (hidden states, mask) of a batch by transformers' tokenizer and model."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = model or AutoModel.from_pretrained(folder)
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=length, return_tensors="pt")
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    with torch.inference_mode():
        return model(input_ids=ids, attention_mask=mask).last_hidden_state, mask


def pooled(hidden: Any, mask: Any, pooling: str) -> Any:
    if pooling == "cls":
        return hidden[:, 0]
    return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def check(runner: Any, expected: dict[str, Any]) -> None:
    """Check that vectors equal the reference, alone, in a batch, and with any padding."""
    for role, reference in expected.items():
        vectors = runner.encode(TEXTS, role)
        np.testing.assert_allclose(vectors, reference.numpy(), atol=1e-5, rtol=1e-5)
        alone = np.concatenate([runner.encode([text], role) for text in TEXTS])
        np.testing.assert_allclose(alone, vectors, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "engine"),
    [(n, "torch") for n in PLAIN] + [(n, "openvino") for n in BOTH_ENGINES],
)
def test_a_plain_encoder_has_the_vectors_of_its_card(name, engine, tmp_path):
    facts = PLAIN[name]
    facts.write(tmp_path / "model")
    runner = runner_of(name, tmp_path / "model", engine=engine)
    expected = {}
    for role, (length, prefix) in (("query", facts.query), ("document", facts.document)):
        texts = [prefix + text for text in TEXTS]
        vectors = pooled(*states(tmp_path / "model", texts, length), facts.pooling)
        expected[role] = F.normalize(vectors, dim=1) if facts.unit else vectors
    check(runner, expected)
    said = runner.describe()
    assert (said["pooling"], said["normalized"]) == (facts.pooling, facts.unit)
    assert said["similarity"] == ("cosine" if facts.unit else "dot")
    assert said["max_length"] == {"query": facts.query[0], "document": facts.document[0]}
    assert said["prompts"] == {"query": facts.query[1], "document": facts.document[1]}


def test_mcontriever_reads_straightened_text(tmp_path):
    tiny.bert(tmp_path / "model")
    runner = runner_of("mcontriever", tmp_path / "model")
    texts = [t.replace("’", "'").replace("“", '"').replace("”", '"').replace("–", "-")
             for t in TEXTS]  # fmt: skip
    expected = pooled(*states(tmp_path / "model", texts, 512), "mean")
    check(runner, {"query": expected, "document": expected})


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("name", ["dpr-single-nq", "dpr-multiset"])
def test_dpr_has_the_vectors_of_transformers_towers(name, engine, tmp_path):
    from transformers import DPRContextEncoder, DPRQuestionEncoder

    kinds = {"question_encoder": DPRQuestionEncoder, "ctx_encoder": DPRContextEncoder}
    for tower in kinds:
        tiny.dpr(tmp_path / tower, tower)
    runner = runner_of(name, tmp_path / "ctx_encoder", tmp_path / "question_encoder", engine=engine)
    expected = {}
    for role, (tower, kind) in zip(("query", "document"), kinds.items(), strict=True):
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / tower)
        texts = [t.replace("’", "'") for t in TEXTS] if role == "query" else TEXTS
        model = kind.from_pretrained(tmp_path / tower)
        vectors = []
        for text in texts:  # as pyserini: ids alone, padding found by its id
            ids = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")["input_ids"]
            with torch.inference_mode():
                vectors.append(model(ids).pooler_output)
        expected[role] = torch.cat(vectors)
    check(runner, expected)


def test_pinned_commits_are_complete_and_belong_to_one_model():
    """No other test detects a missing digit or a line copied from another model."""
    owner: dict[str, str] = {}
    for name in WORKSPACE.method_names():
        spec = WORKSPACE.method(name)
        scorer = spec.scorer.models if spec.scorer else {}
        for model in (*spec.models.values(), *scorer.values()):
            if model.revision is not None:
                assert re.fullmatch("[0-9a-f]{40}", model.revision), name
                assert owner.setdefault(model.revision, model.id) == model.id, name
    assert {"naver/splade-v3", "facebook/dpr-ctx_encoder-single-nq-base"} <= set(owner.values())


def test_dprs_template_makes_the_pair_of_title_and_text(tmp_path):
    """What its tokenizer makes of two segments, the second cut at the end; without a title, of one
    (DPR's BertTensorizer), where AR2 has two with an empty first (its TextCollator)."""
    tiny.dpr(tmp_path / "ctx_encoder", "ctx_encoder")
    tiny.dpr(tmp_path / "question_encoder", "question_encoder")
    runner = runner_of("dpr-multiset", tmp_path / "ctx_encoder", tmp_path / "question_encoder")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "ctx_encoder")

    def ids(method, title, text):
        template = WORKSPACE.method(f"dense/{method}").text
        _, join = text_template(WORKSPACE.task("nq/dpr").model_copy(update={"text": template}))
        return runner._tower("document").tokens.encode(join([title], [text])).ids[0].tolist()

    for title, text in (("the fox", "bear (dog)"), ("", "river"), ("fox", "engine " * 200)):
        pair = tokenizer(title, text, truncation="only_second", max_length=256)["input_ids"]
        alone = tokenizer(text, truncation=True, max_length=256)["input_ids"]
        for method in ("dpr-multiset", "dpr-single-nq"):
            assert ids(method, title, text) == (pair if title else alone)
        for method in ("ar2-nq", "ar2-triviaqa"):
            assert ids(method, title, text) == pair


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_ance_has_the_vectors_of_its_head(engine, tmp_path):
    tiny.ance(tmp_path / "model")
    runner = runner_of("ance", tmp_path / "model", engine=engine)
    weights = torch.load(tmp_path / "model" / "pytorch_model.bin", weights_only=True)
    expected = {}
    for role, length in (("query", 64), ("document", 512)):
        first = states(tmp_path / "model", TEXTS, length)[0][:, 0]
        mapped = F.linear(first, weights["embeddingHead.weight"], weights["embeddingHead.bias"])
        expected[role] = F.layer_norm(mapped, (16,), weights["norm.weight"], weights["norm.bias"])
    check(runner, expected)
    assert runner.describe()["max_length"] == {"query": 64, "document": 512}
    assert not runner.describe()["normalized"]


def test_a_projection_that_is_not_there_is_an_error(tmp_path):
    tiny.unixcoder(tmp_path / "model")
    with pytest.raises(ModelError, match=r"no weights 'embeddingHead.weight'"):
        runner_of("ance", tmp_path / "model").encode(["a"], "query")


def test_weights_that_are_missing_are_an_error(tmp_path):
    tiny.bert(tmp_path / "model")
    from safetensors.torch import load_file, save_file

    path = tmp_path / "model" / "model.safetensors"
    found = load_file(path)
    del found["encoder.layer.1.output.dense.weight"]
    save_file(found, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"no weights 'encoder.layer.1.output.dense.weight'"):
        runner_of("contriever", tmp_path / "model").encode(["a"], "query")


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_unixcoder_has_the_vectors_of_its_authors_code(engine, tmp_path):
    tiny.unixcoder(tmp_path / "model")
    runner = runner_of("unixcoder", tmp_path / "model", engine=engine)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    model = AutoModel.from_pretrained(tmp_path / "model")
    expected = {}
    for role, length in (("query", 128), ("document", 256)):
        vectors = []
        for text in TEXTS:  # as unixcoder.py: four special tokens, the text cut to what is left
            tokens = tokenizer.tokenize(" ".join(text.split()))[: length - 4]
            tokens = ["<s>", "<encoder-only>", "</s>", *tokens, "</s>"]
            ids = torch.tensor([tokenizer.convert_tokens_to_ids(tokens)])
            with torch.inference_mode():
                vectors.append(model(ids, attention_mask=ids.ne(1)).last_hidden_state[0].mean(0))
        expected[role] = F.normalize(torch.stack(vectors), dim=1)
    check(runner, expected)


def test_nomic_truncates_normed_vectors(tmp_path):
    tiny.nomic(tmp_path / "model")
    normed = {}
    for role, prefix in (("query", "search_query: "), ("document", "search_document: ")):
        texts = [prefix + text for text in TEXTS]
        vectors = pooled(*states(tmp_path / "model", texts, 512), "mean")
        normed[role] = F.layer_norm(vectors, normalized_shape=(vectors.shape[1],))
    for dimensions in (768, 256, 128, 64):
        name = "nomic-embed-text-v1.5" + ("" if dimensions == 768 else f"-{dimensions}")
        runner = runner_of(name, tmp_path / "model", max_length=512)
        expected = {r: F.normalize(v[:, :dimensions], p=2, dim=1) for r, v in normed.items()}
        if dimensions == 768:
            check(runner, expected)
        for role, reference in expected.items():  # the same network
            found = runner.encode(TEXTS[:4], role)
            np.testing.assert_allclose(found, reference[:4].numpy(), atol=1e-5, rtol=1e-5)
        assert WORKSPACE.method(f"dense/{name}").parameters["max_length"] == 8192


def test_mamba_retriever_takes_the_state_of_the_end(tmp_path):
    tiny.mamba(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    model = AutoModel.from_pretrained(tmp_path / "model")
    vectors = []
    for text in TEXTS:
        ids = [*tokenizer(text)["input_ids"][:511], tokenizer.eos_token_id]
        with torch.inference_mode():
            vectors.append(model(torch.tensor([ids])).last_hidden_state[0, -1])
    for size in ("130m", "370m", "790m"):
        runner = runner_of(f"mamba-retriever-{size}", tmp_path / "model")
        check(runner, {"document": torch.stack(vectors)})


def test_gear_has_a_tower_for_each_role(tmp_path):
    tiny.bert(tmp_path / "document")
    tiny.bert(tmp_path / "query", seed=1)
    spec = WORKSPACE.method("dense/gear").at(tmp_path)
    runner = build_runner(spec.model_copy(update={
        "parameters": {**spec.parameters, "engine": "torch"}
    }))  # fmt: skip
    check(runner, {
        role: F.normalize(pooled(*states(tmp_path / role, TEXTS, 512), "mean"), dim=1)
        for role in ("query", "document")
    })  # fmt: skip


def test_m2_bert_pads_every_text_to_its_limit(tmp_path):
    tiny.m2_bert(tmp_path / "model")
    from transformers import AutoModelForSequenceClassification

    other = tmp_path / "bert"
    tiny.word_pieces(other)
    tokenizer = AutoTokenizer.from_pretrained(other)
    # The folder's own gives most tokens another id, as the released one does.
    vocabulary = tmp_path / "model/vocab.txt"
    special, words = vocabulary.read_text().split()[:7], vocabulary.read_text().split()[7:]
    vocabulary.write_text(wrong := "\n".join([*special, *reversed(words)]) + "\n")
    model = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "model", trust_remote_code=True
    )
    runner = runner_of("m2-bert-2k", tmp_path / "model", tokenizer=str(other))
    inputs = tokenizer(
        TEXTS, return_tensors="pt", padding="max_length", return_token_type_ids=False,
        truncation=True, max_length=2048,
    )  # fmt: skip
    with torch.inference_mode():
        expected = F.normalize(model(**inputs)["sentence_embedding"], dim=1)
    check(runner, {"query": expected, "document": expected})
    assert vocabulary.read_text() == wrong, "the model's files are read and not written"
    own = runner_of("m2-bert-2k", tmp_path / "model", tokenizer="")
    ids = [one._tower("query").tokens.encode(["the fox"]).ids[0].tolist() for one in (runner, own)]
    assert ids[0] == tokenizer("the fox")["input_ids"] != ids[1]
    for size, length in (("2k", 2048), ("8k", 8192), ("32k", 32768)):
        said = WORKSPACE.method(f"dense/m2-bert-{size}").parameters
        assert (said["max_length"], said["pad_to_limit"]) == (length, True)
        assert said["tokenizer"].startswith("google-bert/bert-base-uncased@")


def test_a_tokenizer_that_no_commit_pins_is_refused(tmp_path):
    tiny.m2_bert(tmp_path / "model")
    runner = runner_of("m2-bert-2k", tmp_path / "model", tokenizer="google-bert/bert-base-uncased")
    with pytest.raises(DefinitionError, match=r"no commit pins it\. Write google-bert/.*@COMMIT"):
        runner.encode(["the fox"], "query")


OFFICIAL = {
    ("dense/retromae-beir", "beir/scifact"): {"query": 512, "document": 512},
    ("dense/retromae-beir", "msmarco/dev"): {"query": 32, "document": 144},
    ("dense/tas-b", "beir/msmarco-dev"): {"query": 512, "document": 512},
    ("dense/tas-b", "beir/cqadupstack/tex"): {"query": 512, "document": 512},
    ("dense/tas-b", "msmarco/trec-dl-2019"): {"query": 30, "document": 200},
    ("dense/ance", "beir/arguana"): {"query": 512, "document": 512},
    ("dense/ance", "msmarco/dev"): {"query": 64, "document": 512},
    ("late_interaction/colbertv2", "beir/arguana"): {"query": 300, "document": 300},
    ("late_interaction/colbertv2", "beir/climate-fever"): {"query": 64, "document": 300},
    ("late_interaction/colbertv2", "beir/nq"): {"query": 32, "document": 300},
    ("late_interaction/colbertv2", "msmarco/dev"): {"query": 32, "document": 220},
}


def test_lengths_are_those_of_the_published_results_on_each_benchmark():
    """Thakur et al. (BEIR's code), and Santhanam et al., appendix, as each benchmark was run."""
    for (name, task), lengths in OFFICIAL.items():
        given = WORKSPACE.method(name).on_task(task).parameters
        found = given.get("max_length") or {
            role: given[f"{role}_length"] for role in ("query", "document")
        }
        if isinstance(found, int):
            found = dict.fromkeys(("query", "document"), found)
        assert found == lengths, (name, task)
    depth = {
        task: WORKSPACE.method("bm25-minilm-l6-cross").on_task(task).parameters["depth"]
        for task in ("msmarco/dev", "beir/scifact")
    }
    assert depth == {"msmarco/dev": 1000, "beir/scifact": 100}


def test_every_definition_is_built_with_what_it_states_of_a_benchmark():
    for name in WORKSPACE.method_names():
        spec = WORKSPACE.method(name)
        for stated in {json.dumps(one): task for task, one in spec.on.items()}.values():
            with contextlib.suppress(ModelError):  # the weights are not here
                build_runner(untrained(spec.on_task(stated)))


def test_modular_star_encoder_has_the_vectors_of_its_card(tmp_path):
    tiny.modular_star_encoder(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model", padding_side="left")
    model = AutoModel.from_pretrained(tmp_path / "model", trust_remote_code=True)
    instructions = {
        "query": "Represent this code description for retrieving supporting snippets of code:",
        "document": "Represent this python code snippet for retrieval:",
    }
    expected = {}
    texts = [text for text in TEXTS if len(text) < 2000]  # the card cuts {cls} off longer ones
    for role, instruction in instructions.items():
        sep, cls = tokenizer.sep_token, tokenizer.cls_token
        sentences = [f"{sep}{instruction}{sep}{text}{cls}" for text in texts]
        inputs = tokenizer(sentences, return_tensors="pt", padding=True, max_length=2048,
                           truncation=True)  # fmt: skip
        with torch.inference_mode():
            outputs = model(**inputs)
        expected[role] = outputs["projected_pooled_normalized"]
    for layer in (4, 9, 18, 27, 36):
        runner = runner_of(f"modularstarencoder-{layer}", tmp_path / "model")
        other = runner_of(f"modularstarencoder-{layer}", tmp_path / "model", output_index=0)
        for role, vectors in expected.items():
            np.testing.assert_allclose(runner.encode(texts, role), vectors[-1].numpy(), atol=1e-5)
            np.testing.assert_allclose(other.encode(texts, role), vectors[0].numpy(), atol=1e-5)
            alone = np.concatenate([runner.encode([text], role) for text in texts])
            np.testing.assert_allclose(alone, vectors[-1].numpy(), atol=1e-5)


def test_code_that_makes_a_model_is_among_its_files(tmp_path):
    tiny.m2_bert(tmp_path / "model")
    runner = runner_of("m2-bert-2k", tmp_path / "model", tokenizer="")
    before = runner.describe()["files"]
    (tmp_path / "model" / "modeling_tiny.py").write_text("# edited")
    assert runner_of("m2-bert-2k", tmp_path / "model", tokenizer="").model.files != before


def test_code_of_another_repository_is_refused(tmp_path):
    tiny.m2_bert(tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    path.write_text(path.read_text().replace('"modeling_tiny', '"some/where--modeling_tiny'))
    with pytest.raises(DefinitionError, match=r"another repository \(some/where--"):
        runner_of("m2-bert-2k", tmp_path / "model").encode(["a"], "query")


@pytest.mark.parametrize("name", ["m2-bert-2k", "modularstarencoder-18"])
def test_code_of_the_hub_is_refused_without_a_commit(name, tmp_path):
    write = tiny.m2_bert if name.startswith("m2") else tiny.modular_star_encoder
    write(tmp_path / "model")
    with pytest.raises(DefinitionError, match=r"would run with your rights"):
        runner_of(name, tmp_path / "model", trust_remote_code=False).encode(["a"], "query")
    runner = runner_of(name, tmp_path / "model")
    import dataclasses

    hub = dataclasses.replace(
        runner, model=dataclasses.replace(runner.model, origin="hub", revision=None)
    )
    with pytest.raises(DefinitionError, match=r"Pin its commit"):
        hub.encode(["a"], "query")


def test_vectors_of_the_models_own_go_with_its_output(tmp_path):
    tiny.bert(tmp_path / "model")
    with pytest.raises(DefinitionError, match=r"State both or neither"):
        runner_of("contriever", tmp_path / "model", output="x")
    with pytest.raises(DefinitionError, match=r"State both or neither"):
        runner_of("contriever", tmp_path / "model", pooling="own")
    with pytest.raises(DefinitionError, match=r"padding_side"):
        runner_of("contriever", tmp_path / "model", padding_side="left")


def ar2(tmp_path: Path, module: str = "utils.dpr_utils") -> dict[str, Any]:
    return tiny.ar2_pickle(tmp_path / "nq.pkl", tmp_path / "ernie", module=module)


@pytest.mark.parametrize("module", ["utils.dpr_utils", "dpr.utils.model_utils"])
def test_ar2_is_converted_and_runs(module, tmp_path):
    from rankstone.runners.transformer.dpr_checkpoint import convert

    towers = ar2(tmp_path, module)
    convert(tmp_path / "nq.pkl", tmp_path / "ernie", tmp_path / "ar2")
    for name in ("ar2-nq", "ar2-triviaqa"):
        spec = WORKSPACE.method(f"dense/{name}").at(tmp_path / "ar2")
        runner = build_runner(spec.model_copy(update={
            "parameters": {**spec.parameters, "engine": "torch"}
        }))  # fmt: skip
        texts = [text.replace("’", "'") for text in TEXTS]
        check(runner, {
            "query": states(tmp_path / "ernie", texts, 512, towers["question_model"])[0][:, 0],
            "document": states(tmp_path / "ernie", TEXTS, 128, towers["ctx_model"])[0][:, 0],
        })  # fmt: skip
    model = BertModel.from_pretrained(tmp_path / "ar2" / "ctx_model")
    for left, right in zip(model.parameters(), towers["ctx_model"].parameters(), strict=True):
        torch.testing.assert_close(left, right)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_is_a_program_is_refused_and_not_run(zipped, tmp_path):
    from rankstone.runners.transformer.dpr_checkpoint import convert

    marker = tmp_path / "ran"
    tiny.malicious_pickle(tmp_path / "bad.pkl", marker, zipped=zipped)
    tiny.word_pieces(tmp_path / "like")
    with pytest.raises(ModelError, match=r"not read: .* would run as code"):
        convert(tmp_path / "bad.pkl", tmp_path / "like", tmp_path / "out")
    assert not marker.exists()
    assert not (tmp_path / "out").exists()


def test_a_conversion_says_what_does_not_fit(tmp_path):
    from rankstone.runners.transformer.dpr_checkpoint import convert

    ar2(tmp_path)
    with pytest.raises(ModelError, match=r"no such file"):
        convert(tmp_path / "none.pkl", tmp_path / "ernie", tmp_path / "out")
    tiny.word_pieces(tmp_path / "other")
    with pytest.raises(ModelError, match=r"expected word embeddings \(None, None\).*--like"):
        convert(tmp_path / "nq.pkl", tmp_path / "other", tmp_path / "out")
    torch.save([1, 2], tmp_path / "list.pkl")
    with pytest.raises(ModelError, match=r"no tensors by name"):
        convert(tmp_path / "list.pkl", tmp_path / "ernie", tmp_path / "out")
    convert(tmp_path / "nq.pkl", tmp_path / "ernie", tmp_path / "out")
    with pytest.raises(ModelError, match=r"is there already"):
        convert(tmp_path / "nq.pkl", tmp_path / "ernie", tmp_path / "out")


@pytest.mark.parametrize(
    "name", ["dupmae", "gear", "gnn-coder", "mamba-retriever-130m", "bm25-cet", "bm25-poly-encoder"]
)
def test_unreleased_weights_are_reported(name, tmp_path):
    spec: MethodSpec = WORKSPACE.method(name)
    assert spec.weights == "unavailable"
    with pytest.raises(ModelError, match=r"never released.*--model-path DIR"):
        build_runner(spec)
    with pytest.raises(ModelError, match=r"the path .* is not a folder"):
        build_runner(spec.at(tmp_path / "none"))


def test_a_uni_encoder_states_how_to_get_its_weights():
    spec = WORKSPACE.method("bm25-uni-encoder")
    assert spec.scorer is not None
    assert spec.scorer.adapter == "uni_encoder"
    with pytest.raises(ModelError, match=r"(?s)Uni-Encoder.*scorer\.safetensors.*--model-path DIR"):
        build_runner(spec)


def test_every_released_model_says_where_it_comes_from():
    for name in WORKSPACE.method_names():
        spec = WORKSPACE.method(name)
        own = spec.models or (spec.scorer.models if spec.scorer else {})
        if own and spec.adapter != "static":
            assert spec.citation, name
            assert spec.licence, name
        if spec.adapter == "dense":
            stated = spec.parameters.get("prompts", {"query", "document"})
            assert set(stated) == {"query", "document"}, name
