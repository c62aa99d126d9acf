"""Models given by folder: the type is found from the files, the name from the content."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rankstone.errors import DefinitionError, ModelError
from rankstone.runners.construct import build_runner
from rankstone.specs import MethodSpec
from rankstone.workspace import Changes, Workspace
from tests.conftest import ROOT
from tests.tiny_encoders import write_modules
from tests.tiny_models import (
    VOCABULARY,
    write_encoder,
    write_masked,
    write_pylate_colbert,
    write_stanford_colbert,
)
from tests.tiny_rerankers import write_cross_encoder

pytest.importorskip("sentence_transformers")
TEXTS = ["the fox crosses the river", "which bear follows an 8 km glacier", ""]
PLACE = Workspace.find(ROOT)


def method(folder: Path, *settings: str, **options: str | int) -> MethodSpec:
    [made] = PLACE.methods([str(folder)], changes=Changes(settings=settings, **options))
    return made


def write_dense(folder: Path, seed: int = 0) -> Path:
    write_encoder(folder, seed)
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True,
               "pooling_mode_mean_tokens": False}  # fmt: skip
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    modules = {"": "models.Transformer", "1_Pooling": "models.Pooling"}
    write_modules(folder, modules, prompts={"query": "ask: "}, similarity_fn_name="dot")
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_dense(folder / "dense")
    write_encoder(folder / "plain")
    write_masked(folder / "sparse")
    (folder / "sparse/1_SpladePooling").mkdir()
    pooling = {"pooling_strategy": "sum", "activation_function": "relu",
               "word_embedding_dimension": len(VOCABULARY)}  # fmt: skip
    (folder / "sparse/1_SpladePooling/config.json").write_text(json.dumps(pooling))
    kinds = {"": "sparse_encoder.models.MLMTransformer",
             "1_SpladePooling": "sparse_encoder.models.SpladePooling"}  # fmt: skip
    write_modules(folder / "sparse", kinds, model_type="SparseEncoder")
    write_stanford_colbert(folder / "stanford", dim=16, query_maxlen=24, doc_maxlen=90)
    write_pylate_colbert(folder / "pylate", dim=16, query_length=20)
    (folder / "cross").mkdir()
    write_cross_encoder(folder / "cross")
    return folder


def test_a_dense_model_is_as_its_library_has_it(models: Path) -> None:
    from sentence_transformers import SentenceTransformer

    made = method(models / "dense")
    assert (made.adapter, made.name.partition("+")[0]) == ("dense", "folder/dense")
    runner, library = build_runner(made), SentenceTransformer(str(models / "dense"), device="cpu")
    assert runner.describe()["similarity"] == "dot"
    for role in ("query", "document"):
        theirs = getattr(library, f"encode_{role}")(TEXTS)
        assert np.allclose(runner.encode(TEXTS, role), theirs, atol=1e-5), role


def test_a_sparse_model_is_as_its_library_has_it(models: Path) -> None:
    from sentence_transformers import SparseEncoder

    made = method(models / "sparse")
    assert made.adapter == "sparse"
    library = SparseEncoder(str(models / "sparse"), device="cpu")
    theirs = library.encode_document(TEXTS[:1], convert_to_sparse_tensor=False).numpy()
    runner: Any = build_runner(made)
    ours = runner.encode(TEXTS[:1], "document")
    assert np.allclose(ours[0], theirs[0], atol=1e-4)
    tokens = library.tokenizer.convert_ids_to_tokens(range(len(VOCABULARY)))
    assert runner.vocabulary("query") == tokens


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("stanford", {"query_length": 24, "document_length": 90, "query_marker": "[unused0]"}),
        ("pylate", {"query_length": 20, "document_length": 300, "document_marker": "[D] "}),
    ],
)
def test_late_interaction_is_as_its_settings_state(
    models: Path, name: str, expected: dict[str, object]
) -> None:
    made = method(models / name)
    assert made.adapter == "late_interaction"
    assert made.parameters.items() >= {**expected, "dim": 16}.items()
    assert build_runner(made).encode(TEXTS[:1], "query").lengths.tolist() == [
        expected["query_length"]
    ]


def test_a_cross_encoder_re_scores_candidates(models: Path) -> None:
    from sentence_transformers import CrossEncoder

    with pytest.raises(DefinitionError, match="--candidates bm25 --depth 100"):
        method(models / "cross")
    made = method(models / "cross", candidates="bm25", depth=7)
    assert made.name.startswith("folder/cross+candidates-lexical-bm25-7+weights-")
    assert made.parameters == {"depth": 7}
    assert [member.name for member in made.members] == ["lexical/bm25"]
    library = CrossEncoder(str(models / "cross"), device="cpu")
    theirs = library.predict([(TEXTS[0], text) for text in TEXTS[:2]])
    ours = build_runner(made).scorer.score(TEXTS[0], TEXTS[:2])
    assert (np.argsort(ours) == np.argsort(theirs)).all()
    with pytest.raises(DefinitionError, match="are for a cross-encoder"):
        method(models / "dense", candidates="bm25")


def test_what_the_files_do_not_say_is_to_be_stated(models: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="--set adapter=dense --set pooling=cls"):
        method(models / "plain")
    made = method(models / "plain", "adapter=dense", "pooling=cls")
    assert made.name.startswith("folder/plain+dense+weights-")
    assert build_runner(made).encode(TEXTS, "query").shape == (3, 32)
    colbert = shutil.copytree(models / "stanford", tmp_path / "stanford")
    (colbert / "artifact.metadata").unlink()
    with pytest.raises(ModelError, match="--set query_length=VALUE --set document_length=VALUE"):
        method(colbert)


def test_the_name_is_of_the_bytes_and_of_nothing_else(models: Path, tmp_path: Path) -> None:
    one, again = method(models / "dense"), shutil.copytree(models / "dense", tmp_path / "a/dense")
    other = method(write_dense(tmp_path / "b" / "dense", seed=1))
    assert method(again).name == one.name != other.name
    assert method(again).digest() == one.digest()
    settings = ("max_length=16", "max_length=8", "prompts.query=q: ")
    names = [one.name, other.name, *(method(models / "dense", s).name for s in settings)]
    names += [method(models / "dense", precision="bf16").name, method(again, name="best").name]
    assert len({*names}) == len(names)
    assert names[-1] == one.name.replace("folder/dense", "best")
    assert all(name.startswith(f"{one.name}+parameters-") for name in names[2:-1])
    assert PLACE.methods([str(again), str(models / "dense")]) == [method(again)]


@pytest.mark.parametrize(
    "stated",
    [{"settings": ("k1=1.2", "k1=2.0")}, {"settings": ("precision=fp32",), "precision": "bf16"}],
)
def test_a_key_that_is_set_twice_is_refused(stated: dict[str, Any]) -> None:
    """One of the two values would be ignored."""
    with pytest.raises(DefinitionError, match=r"set twice|exclude each other"):
        PLACE.methods(["bm25"], changes=Changes(**stated))


def test_settings_change_definitions_too() -> None:
    [made] = PLACE.methods(["bm25"], changes=Changes(settings=("k1=2.0", "text={text}")))
    assert made.parameters["k1"] == 2.0
    assert made.text == "{text}"
    assert made.name.startswith("lexical/bm25+text-")
    plain = PLACE.method("bm25")
    [direct] = PLACE.methods([plain.model_copy(update={
        "text": "{text}", "parameters": {**plain.parameters, "k1": 2.0}})])  # fmt: skip
    assert direct.name == made.name, "one rule of names"
    for setting, said in (("k1", "KEY=VALUE"), ("scorer.x=1", "has no scorer")):
        with pytest.raises(DefinitionError, match=said):
            PLACE.methods(["bm25"], changes=Changes(settings=(setting,)))


def test_numbers_between_commas_are_a_grid() -> None:
    settings = ("k1=0.5, 1.5", "b=0.4,1e-1", "text={title}, {text}", 'stopwords=["a", "b"]')
    made = PLACE.methods(["bm25", "bm25-mteb"], changes=Changes(settings=settings))
    points = [(one.parameters["k1"], one.parameters["b"]) for one in made]
    assert points[:4] == [(0.5, 0.4), (0.5, 0.1), (1.5, 0.4), (1.5, 0.1)]
    assert points[4:] == points[:4]
    assert len({one.name for one in made}) == 8
    assert {one.text for one in made} == {"{title}, {text}"}
    assert made[0].parameters["stopwords"] == ["a", "b"]


def test_labels_are_for_one_method(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="--name is for one method"):
        PLACE.methods(["bm25", "bm25-mteb"], changes=Changes(name="x"))
    ones = [PLACE.method(n).model_copy(update={"name": "x"}) for n in ("bm25", "bm25-mteb")]
    with pytest.raises(DefinitionError, match="two methods are named 'x'"):
        PLACE.methods(ones)


def test_a_file_outside_a_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        'description = "d"\nadapter = "reciprocal_rank_fusion"\nmembers = ["bm25", "bm25-mteb"]\n'
    )
    for folder, more in (("a", ""), ("b", ""), ("c", "[parameters]\nk = 10\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.toml").write_text(text + more)
    monkeypatch.chdir(tmp_path)
    one, same, other = (PLACE.methods(f"./{folder}/mine.toml")[0] for folder in "abc")
    assert one.name == same.name != other.name
    assert one.name.startswith("file/mine+definition-")
    assert len(PLACE.methods(["a/mine.toml", "c/mine.toml"])) == 2, "two files of one name"
    (tmp_path / "a/mine.toml").write_text("adaptor = 1")
    with pytest.raises(DefinitionError, match=r"a/mine\.toml"):
        PLACE.methods("a/mine.toml")


def test_folders_that_are_no_models(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="no weights in"):
        method(tmp_path)
    with pytest.raises(DefinitionError, match="no such folder"):
        method(tmp_path / "none")
    with pytest.raises(DefinitionError, match="not ORG/NAME"):
        PLACE.methods("hf:a b")


def test_a_model_of_mtebs_registry_has_its_prompts_and_revision(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rankstone.runners.models import LocatedModel
    from rankstone.runners.unwritten import forms

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DefinitionError, match="pip install mteb"):
        PLACE.methods("mteb:org/name")
    monkeypatch.undo()
    commit, asked = "c" * 40, []

    def get_model_meta(name: str) -> SimpleNamespace:
        if name != "org/name":
            raise KeyError(name)
        prompts = {"query": "find: ", "passage": "text: "}
        return SimpleNamespace(name=name, revision=commit, loader_kwargs={"model_prompts": prompts})

    def locate_here(model: object) -> LocatedModel:
        asked.append(model)
        here = method(models / "dense").model
        assert here is not None
        found = forms.locate(here)
        return LocatedModel(id="org/name", folder=found.folder, origin="hub cache",
                            revision=commit, files=found.files)  # fmt: skip

    registry = ModuleType("mteb")
    registry.__spec__ = SimpleNamespace()  # type: ignore[assignment]
    registry.get_model_meta = get_model_meta  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mteb", registry)
    monkeypatch.setattr(forms, "locate_here", locate_here)
    [made] = PLACE.methods("mteb:org/name")
    assert asked[0].revision == commit
    assert made.name == "mteb/org/name+revision-cccccccc"
    assert made.parameters["prompts"] == {"query": "find: ", "document": "text: "}
    with pytest.raises(DefinitionError, match="no such model"):
        PLACE.methods("mteb:org/other")
