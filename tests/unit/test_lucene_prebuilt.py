"""Pyserini's prebuilt indexes by name: registry, cache, download, and document ids."""

from __future__ import annotations

import hashlib
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest

import rankstone
from rankstone.errors import AdapterError, DefinitionError, MissingExtraError, ModelError
from rankstone.runners.lucene import prebuilt_indexes as registry
from rankstone.runners.lucene import prebuilt_search
from rankstone.runners.lucene.prebuilt_search import PrebuiltIndex
from rankstone.runners.protocols import Defaults
from rankstone.runners.representations.sparse_rows import sparse_rows
from rankstone.runners.testing import PlainContext
from rankstone.workspace import Changes, Workspace
from tests.beir_layout import write_beir
from tests.conftest import ROOT
from tests.servers import Served, serving

pytest.importorskip("pyserini", reason="needs the extra 'lucene'")
from rankstone.runners.lucene.lucene_prebuilt import LucenePrebuilt, LucenePrebuiltImpact

pytestmark = pytest.mark.usefixtures("forked_cells")

PLACE = Workspace.find(ROOT)
MD5 = "0123456789abcdef" * 2
TEXTS = ("the quick fox", "a fox and a bear", "rivers", "the bear's river", "fox fox", "fox fox")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of `TEXTS` under the ids d9, d8 ... d4."""
    from tests.lucene_indexes import write_words

    folder = tmp_path_factory.mktemp("prebuilt") / "tiny"
    write_words(folder, {f"d{9 - n}": text for n, text in enumerate(TEXTS)})
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYSERINI_CACHE", str(tmp_path / "pyserini"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path / "pyserini" / "indexes"


def register(monkeypatch: pytest.MonkeyPatch, name: str, url: str, md5: str = MD5) -> None:
    """Add an index of words to pyserini's own registry."""
    kinds = registry._registry()
    entry = {"urls": [url], "md5": md5, "documents": len(TEXTS), "filename": f"{name}.tar.gz"}
    monkeypatch.setitem(kinds[0], name, entry)


def place_in(cache: Path, folder: Path, md5: str = MD5) -> None:
    cache.mkdir(parents=True)
    (cache / f"tiny.{md5}").symlink_to(folder)


def test_ids_are_read_in_pieces(words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prebuilt_search, "PIECE", 4)
    assert prebuilt_search._ids(words) == ["d9", "d8", "d7", "d6", "d5", "d4"]


def opened(context: PlainContext, **more: object) -> PrebuiltIndex:
    return LucenePrebuilt(prebuilt="tiny", md5=MD5, **more).index(None, context)


def test_documents_are_those_of_the_collection(words: Path, cache: Path, tmp_path: Path) -> None:
    from rankstone.runners.lucene.jvm import java

    place_in(cache, words)
    context = PlainContext(texts=["anything"] * 9, work=tmp_path)  # d0 ... d8: without d9
    index = opened(context)
    found = index.search(["foxes", "bear river", "none of it"], 4)
    peer = java("io.anserini.search.SimpleSearcher")(str(words))
    for row, query in enumerate(("foxes", "bear river")):
        hits = [hit for hit in peer.search(query, 9) if hit.docid != "d9"][:4]
        assert [f"d{doc}" for doc in found.docs[row] if doc >= 0] == [hit.docid for hit in hits]
        scores = found.scores[row, : len(hits)]
        np.testing.assert_allclose(scores, [hit.score for hit in hits], atol=1e-4)
    assert found.docs[0].tolist() == [4, 5, 8, -1], "the tie goes to the lower id"
    assert (np.diff(found.scores[0, :2]) < 0).all()
    assert (found.docs[2] == -1).all()
    assert [note.partition(", such")[0] for note in index.notes()] == [
        "lucene:tiny: 1 of its 6 documents are not in the collection and are left out",
        "lucene:tiny: 4 of the collection's 9 documents are not in the index and cannot be found",
    ]
    # What is left out is replaced: of the best two, one is not in the collection.
    assert opened(context, k1=0.0, b=0.0).search(["quick fox"], 2).docs.tolist() == [[4, 5]]
    (tmp_path / "saved").mkdir()
    index.save(tmp_path / "saved")
    loaded = PrebuiltIndex.load(tmp_path / "saved")
    assert loaded.nbytes() == index.nbytes() > 0
    np.testing.assert_array_equal(loaded.search(["foxes"], 4), index.search(["foxes"], 4)[:2])


def test_ties_that_reach_beyond_rank_k_go_to_the_lower_id(cache: Path, tmp_path: Path) -> None:
    from rankstone.runners.lucene.jvm import java
    from tests.lucene_indexes import write_words

    names = [f"d{n}" for n in np.random.default_rng(0).permutation(90)]
    write_words(tmp_path / "tied", dict.fromkeys(names, "fox"))
    place_in(cache, tmp_path / "tied")
    index = opened(PlainContext(texts=["x"] * 90, work=tmp_path))
    peer = java("io.anserini.search.SimpleSearcher")(str(tmp_path / "tied"))
    for k in (1, 5, 40, 90):
        hits = [hit.docid for hit in peer.search("fox", k)]
        assert [f"d{doc}" for doc in index.search(["fox"], k).docs[0]] == hits == sorted(names)[:k]


def test_an_index_of_another_collection_is_refused(
    words: Path, cache: Path, tmp_path: Path
) -> None:
    place_in(cache, words)
    with pytest.raises(AdapterError, match=r"none of its 6 documents, such as 'd9', is in"):
        opened(PlainContext(texts=["a", "b"], work=tmp_path))


class Spelled(Defaults):
    """Encoder with one term per letter of the alphabet."""

    def encode(self, texts, role):
        rows = [(np.unique([ord(c) - 97 for c in text]), np.ones(len({*text}))) for text in texts]
        return sparse_rows(rows, 26)

    def vocabulary(self, role):
        return [chr(97 + number) for number in range(26)]

    def index(self, documents, context): ...


def test_impacts_are_asked_for_by_the_tokens_of_the_encoder(cache: Path, tmp_path: Path) -> None:
    from tests.lucene_indexes import write_impacts

    vectors = {"d1": {"a": 3, "b": 200}, "d0": {"b": 5}, "d2": {"z": 7}}
    write_impacts(tmp_path / "impacts", vectors)
    place_in(cache, tmp_path / "impacts")
    runner = LucenePrebuiltImpact(members=(Spelled(),), prebuilt="tiny", md5=MD5)
    index = runner.index(None, PlainContext(texts=["x"] * 3, work=tmp_path))
    found = index.search(runner.encode(["ab", "z", "q"], "query"), 3)
    assert found.docs.tolist() == [[1, 0, -1], [2, -1, -1], [-1, -1, -1]]
    assert found.scores[:2, :2].tolist() == [[203 * 51, 5 * 51], [7 * 51, -np.inf]]
    assert index.notes() == []
    assert runner.describe()["index"]["md5"] == MD5
    with pytest.raises(DefinitionError, match="a Plain has no vocabulary"):
        LucenePrebuiltImpact(members=(type("Plain", (Defaults,), {})(),), prebuilt="x", md5="y")


def test_facts_of_an_index_are_those_of_pyserinis_registry() -> None:
    flat = registry.look_up("beir-v1.0.0-scifact.flat")
    assert (flat.kind, flat.documents, flat.fields) == ("words", 5183, {"contents": 1.0})
    both = registry.look_up("beir-v1.0.0-scifact.multifield")
    assert both.fields == {"contents": 1.0, "title": 1.0}
    languages = {"miracl-v1.0-sw": "sw", "mrtydi-v1.1-finnish": "fi", "ciral-v1.0-ha-en": "en"}
    for name, language in {**languages, "msmarco-v1-passage": "en"}.items():
        assert registry.look_up(name).language == language, name
    for name, encoder in {"msmarco-v1-passage.splade-v3": "sparse/splade-v3",
                          "bright-biology.splade-v3": "sparse/splade-v3",
                          "msmarco-v1-passage.splade-pp-ed-text": "sparse/splade-pp-ed",
                          "msmarco-v1-passage.unicoil": None}.items():  # fmt: skip
        entry = registry.look_up(name)
        assert (entry.kind, entry.encoder) == ("impacts", encoder)
    assert {*registry.ENCODERS.values()} <= {*PLACE.method_names()}


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("beir-scifact-flat", r"has no prebuilt index of this name. Did you mean: .*scifact.flat"),
        ("beir-v1.0.0-scifact.contriever", "an index of vectors of this name"),
        ("msmarco-v1-passage.unicoil", r'members = \["hf:ORG/NAME"\].*md5 = "'),
    ],
)
def test_other_names_are_refused(name: str, fault: str, cache: Path) -> None:
    with pytest.raises(DefinitionError, match=fault):
        PLACE.methods(f"lucene:{name}")


def test_an_index_that_cannot_be_had(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(fault: str) -> None:
        with pytest.raises(
            ModelError, match=f"'lucene:tiny' is not in pyserini's cache.*{fault}"
        ) as e:
            PLACE.methods("lucene:tiny")
        assert "\n" not in str(e.value)

    monkeypatch.setattr(registry, "ANSWER_S", 60.0)
    register(monkeypatch, "tiny", "http://127.0.0.1:9/tiny.tar.gz")
    refused("cannot be reached")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused("HF_HUB_OFFLINE is set")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with serving(Served()) as served:
        register(monkeypatch, "tiny", served.url("tiny.tar.gz"))
        refused("answers 404")
    answered = threading.Event()
    monkeypatch.setattr(registry, "_fault", lambda url: answered.wait() and "")
    monkeypatch.setattr(registry, "ANSWER_S", 0.1)
    refused("does not answer within")
    answered.set()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"rankstone\[lucene\]"):
        PLACE.methods("lucene:tiny")


def test_pyserini_downloads_what_its_cache_lacks(
    words: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    with tarfile.open(tmp_path / "tiny.tar.gz", "w:gz") as archive:
        archive.add(words, "tiny")
    content = (tmp_path / "tiny.tar.gz").read_bytes()
    md5 = hashlib.md5(content).hexdigest()
    with serving(Served(files={"tiny.tar.gz": content})) as served:
        register(monkeypatch, "tiny", served.url("tiny.tar.gz"), md5="0" * 32)
        with pytest.raises(ModelError, match=r"does not match checksum.*Try again"):
            PLACE.methods("lucene:tiny")
        register(monkeypatch, "tiny", served.url("tiny.tar.gz"), md5=md5)
        [method] = PLACE.methods("lucene:tiny")
    assert method.name == f"lucene/tiny+index-{md5[:8]}"
    assert method.parameters["md5"] == md5
    assert registry.cached(md5) == cache / f"tiny.{md5}"
    assert capfd.readouterr().out == "", "what a command prints is its own"
    assert PLACE.methods(["lucene:tiny"])[0] == method, "from the cache"
    [changed] = PLACE.methods("lucene:tiny", changes=Changes(settings=("b=0.7",)))
    assert changed.name.startswith(f"{method.name}+parameters-")
    with pytest.raises(ModelError, match="Correct the key 'md5'"):
        registry.folder_of("tiny", "1" * 32)


def test_a_run_from_the_name_to_the_record(
    words: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place_in(cache, words)
    register(monkeypatch, "tiny", "http://127.0.0.1:9/tiny.tar.gz")
    documents = {f"d{n}": "x" for n in range(9)}
    write_beir(tmp_path / "mine", documents, {"q": "rivers"}, test=[("q", "d6")])
    session = rankstone.Session(results=tmp_path / "results", cache=tmp_path / "cache")
    [record] = session.run("lucene:tiny", str(tmp_path / "mine"))
    assert record.error is None
    assert record.method.name == f"lucene/tiny+index-{MD5[:8]}"
    assert record.method.description["index"] == {"prebuilt": "tiny", "md5": MD5}
    assert record.measures["RR@10"].mean == 0.5, "d7, rivers alone, is shorter than d6"
    assert sum("lucene:tiny" in warning for warning in record.warnings) == 2
    assert [found for found, _ in session.records("lucene:tiny")] == [record]
