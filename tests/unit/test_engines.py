"""Inference engines: converted copies, memory, windows, truncation, errors."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("openvino")

from rankstone import files
from rankstone.errors import DefinitionError, ModelError, RankstoneWarning
from rankstone.runners.encoders.dense import DenseEncoder, Vector
from rankstone.runners.models import locate
from rankstone.runners.transformer import batching
from rankstone.runners.transformer import tower as towers
from rankstone.runners.transformer.engines import export
from rankstone.runners.transformer.engines.engine import OutOfMemoryError
from rankstone.runners.transformer.network import Network
from rankstone.runners.transformer.tokens import Tokens
from rankstone.specs import ModelSpec
from tests import tiny_encoders, tiny_models

TEXTS = ["the fox follows", "", "river " * 30, "an bear", "glacier, harbour!", *("fox " * 40,) * 9]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RANKSTONE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "networks"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tiny_models.write_encoder(tmp_path_factory.mktemp("bert"))
    return located(folder)


def located(folder):
    return locate(ModelSpec(id="tiny", path=str(folder)))


def encoder(model, **parameters):
    parameters = {"engine": "torch", "pooling": "mean", "device": "cpu", **parameters}
    return DenseEncoder(model=model, **parameters)


def converting(model, **parameters):
    return encoder(model, engine="openvino", **parameters)


@pytest.fixture
def conversions(monkeypatch, tmp_path):
    """Number of written copies; each graph is traced once."""
    made, write = [], export._graph

    def written(network, loaded, folder):
        kept = tmp_path / "graphs" / export.location(network, graph=True).name
        made.append(folder)
        if not kept.exists():
            before = {*folder.iterdir()}
            assert write(network, loaded, folder) is None
            kept.mkdir(parents=True)
            for path in {*folder.iterdir()} - before:
                shutil.copy(path, kept)
        else:
            shutil.copytree(kept, folder, dirs_exist_ok=True)

    monkeypatch.setattr(export, "_graph", written)
    return made


# The converted copy


def test_a_network_is_converted_once(model, cache, conversions):
    first = converting(model).encode(TEXTS, "document")
    np.testing.assert_array_equal(converting(model).encode(TEXTS, "document"), first)
    assert len(conversions) == 1
    (copy,) = copies(cache)
    assert {path.name for path in copy.iterdir()} >= {"model.xml", "model.bin", "tokenizer.json"}
    assert [path for path in cache.iterdir() if path.name.endswith(files.TEMPORARY)] == []


def copy_of(model):
    """Return the path of the model's exported copy."""
    return export.location(converting(model)._tower("document").network, graph=True)


def copies(cache):
    return [path for path in cache.iterdir() if not path.name.startswith(".")]


def flipped(path):
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)


def refitted(path):
    """Change a fact in the file: the network has fewer positions."""
    text = path.read_text()
    changed = re.sub(r"(\d)(\d+)", lambda found: found[1] + "0" * len(found[2]), text, count=1)
    assert changed != text
    path.write_text(changed)


DAMAGES = [
    lambda copy: flipped(copy / "model.bin"),
    lambda copy: flipped(copy / "tokenizer.json"),
    lambda copy: (copy / "model.bin").write_bytes(b""),
    lambda copy: (copy / "model.xml").unlink(),
    lambda copy: (copy / "about.json").unlink(),
    lambda copy: (copy / "about.json").write_text('{"files": {'),
    lambda copy: refitted(copy / "about.json"),
]


def test_a_damaged_copy_is_detected_and_converted_again(model, cache, conversions):
    texts = TEXTS[:5]
    first = converting(model).encode(texts, "document")
    for number, damage in enumerate(DAMAGES, 2):
        damage(copies(cache)[0])
        np.testing.assert_array_equal(converting(model).encode(texts, "document"), first)
        assert len(conversions) == number
    converting(model).encode(texts, "document")
    assert len(conversions) == len(DAMAGES) + 1


def test_every_change_of_the_network_has_a_separate_copy(model, cache, tmp_path, monkeypatch):
    plain = converting(model)
    plain.encode(["fox"], "query")
    dataclasses.replace(plain, exit_layer=1).encode(["fox"], "query")
    assert len(copies(cache)) == 2
    converting(located(tiny_models.write_encoder(tmp_path / "other", seed=5))).encode([""], "query")
    assert len(copies(cache)) == 3
    monkeypatch.setattr(export, "version", lambda name: "0.0")
    dataclasses.replace(plain, batch_tokens=7).encode(["fox"], "query")
    assert len(copies(cache)) == 4
    # Steps before the network are not part of the copy; those after its states are.
    dataclasses.replace(plain, max_length=9, precision="bf16").encode([""], "query")
    assert len(copies(cache)) == 4
    dataclasses.replace(plain, pooling="cls").encode([""], "query")
    assert len(copies(cache)) == 5


CONVERT = """
import sys
from tests.unit.test_engines import converting, located
import numpy as np
np.save(sys.argv[2], converting(located(sys.argv[1])).encode(["the fox", ""], "document"))
"""


@pytest.mark.slow  # by threads below; locks of processes: test_files
def test_processes_that_convert_at_once_end_with_one_whole_copy(model, cache, tmp_path):
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), str(root / "src")])
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CONVERT, str(model.folder), str(tmp_path / f"{n}.npy")],
            env={**os.environ, "PYTHONPATH": path},
        )
        for n in range(2)
    ]
    assert [child.wait(timeout=300) for child in children] == [0, 0]
    np.testing.assert_array_equal(np.load(tmp_path / "0.npy"), np.load(tmp_path / "1.npy"))
    (copy,) = copies(cache)
    assert export._whole(copy)


def test_one_waits_while_another_converts(model, cache, conversions):
    cache.mkdir(parents=True)
    done = threading.Event()
    with files.lock(copy_of(model)):
        thread = threading.Thread(
            target=lambda: (converting(model).encode(["fox"], "query"), done.set())
        )
        thread.start()
        time.sleep(0.5)
        assert (conversions, done.is_set()) == ([], False)
    thread.join(timeout=120)
    assert (len(conversions), done.is_set()) == (1, True)


def test_copies_lie_in_the_users_cache_folder_by_default(model, monkeypatch, tmp_path):
    monkeypatch.delenv("RANKSTONE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert copy_of(model).parent == tmp_path / "xdg" / "rankstone" / "networks"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert copy_of(model).parent == tmp_path / ".cache" / "rankstone" / "networks"


def test_a_cell_converts_into_its_own_cache_and_keeps_to_its_threads(monkeypatch, tmp_path):
    from rankstone.execution import process

    class Job:
        threads, cache, device = 3, Path("some/cache"), "cuda:1"

    monkeypatch.chdir(tmp_path)
    stated = process._environment(Job())
    assert stated["RANKSTONE_CACHE"] == str(tmp_path / "some" / "cache")
    assert stated["RANKSTONE_DEVICE"] == "cuda:1"
    assert {stated[f"{name}_NUM_THREADS"] for name in ("OMP", "OPENBLAS", "RAYON")} == {"3"}


def test_a_folder_that_cannot_be_written_leaves_the_work_to_torch(model, monkeypatch, tmp_path):
    """The path is a file, so that not even root can write there."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("RANKSTONE_CACHE", str(tmp_path / "file"))
    monkeypatch.setenv("RANKSTONE_DEVICE", "cpu")
    with pytest.warns(RankstoneWarning, match=r"cannot be kept in .*RANKSTONE_CACHE.*torch does"):
        vectors = encoder(model, engine=None, device=None).encode(TEXTS, "document")
    np.testing.assert_array_equal(vectors, encoder(model).encode(TEXTS, "document"))
    with pytest.raises(ModelError, match="RANKSTONE_CACHE"):
        converting(model).encode(TEXTS, "document")


# Networks that OpenVINO cannot run


@pytest.fixture(scope="module")
def mamba(tmp_path_factory):
    """Mamba with its language-model head, as in `state-spaces/mamba-*-hf`."""
    from transformers import MambaConfig, MambaForCausalLM

    folder = tmp_path_factory.mktemp("mamba")
    special = {"eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    size = tiny_encoders.bytes_tokenizer(folder, special, around=False)
    config = MambaConfig(
        vocab_size=size, hidden_size=16, num_hidden_layers=2, state_size=4, time_step_rank=2
    )
    tiny_encoders.seeded(MambaForCausalLM, config).save_pretrained(folder)
    return located(folder)


MAMBA = {"pooling": "last", "tokens_after": ("eos_token",), "max_length": 64}


def test_torch_runs_what_openvino_cannot(mamba, monkeypatch):
    monkeypatch.setenv("RANKSTONE_DEVICE", "cpu")
    free = encoder(mamba, engine=None, device=None, **MAMBA)
    with pytest.warns(
        RankstoneWarning, match=r"OpenVINO cannot run it \((?!Exception).*torch does"
    ):
        vectors = free.encode(TEXTS, "document")
    assert free.describe()["engine"].startswith("torch")
    np.testing.assert_array_equal(vectors, encoder(mamba, **MAMBA).encode(TEXTS, "document"))
    with pytest.raises(ModelError, match=r'Set parameters.engine = "torch"'):
        converting(mamba, **MAMBA).encode(TEXTS, "document")


def test_mamba_gives_the_state_of_its_end_token(mamba):
    import torch
    from transformers import AutoTokenizer, MambaModel

    tokenizer = AutoTokenizer.from_pretrained(mamba.folder)
    plain = MambaModel.from_pretrained(mamba.folder).eval()
    own = encoder(mamba, similarity="dot", **MAMBA)
    vectors = own.encode(TEXTS, "document")
    for text, vector in zip(TEXTS, vectors, strict=True):
        ids = [*tokenizer(text)["input_ids"][:63], tokenizer.eos_token_id]
        with torch.inference_mode():
            expected = plain(torch.tensor([ids])).last_hidden_state[0, -1].numpy()
        np.testing.assert_allclose(vector, expected, atol=1e-5)
    alone = np.concatenate([own.encode([text], "document") for text in TEXTS])
    np.testing.assert_allclose(alone, vectors, atol=1e-5)
    for budget in (1, 150, 10_000):
        other = dataclasses.replace(own, batch_tokens=budget).encode(TEXTS, "document")
        np.testing.assert_allclose(other, vectors, atol=1e-5)


def test_mamba_does_not_see_what_is_masked(mamba):
    """Padding after a text is harmless for a causal model; padding before it is not."""
    import torch

    states = encoder(mamba, **MAMBA)._tower("document").engines._in_torch().network.backbone
    ids = np.array([[5, 6, 7, 8]])
    padded, mask = np.pad(ids, ((0, 0), (9, 0)), constant_values=3), np.ones((1, 13), np.int64)

    def network(ids, mask):
        features = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        with torch.inference_mode():
            return states(features)["token_embeddings"].numpy()

    seen = network(padded, mask)[0, -4:]
    mask[:, :9] = 0
    expected = network(ids, np.ones_like(ids))[0]
    np.testing.assert_allclose(network(padded, mask)[0, -4:], expected, atol=1e-5)
    assert np.abs(seen - expected).max() > 1e-2


# Memory


def failing(runner, most, lanes=1):
    """Return `runner` on a device limited to `most` tokens per batch, and the batch shapes."""
    tower, taken = runner._tower("document"), []
    network = tower.engine

    def run(ids, mask):
        if ids.size > most:
            raise OutOfMemoryError("out of memory")
        taken.append(ids.shape)
        return network.run(ids, mask)

    tower.__dict__["engine"] = dataclasses.replace(network, run=run, lane=run, lanes=lanes)
    return runner, taken


@pytest.mark.parametrize("lanes", [1, 3])
def test_out_of_memory_halves_the_budget_and_encoding_continues(model, lanes):
    runner, taken = failing(encoder(model, batch_tokens=1024), 200, lanes)
    with pytest.warns(RankstoneWarning, match="ran out of memory") as warned:
        vectors = runner.encode(TEXTS, "document")
    expected = encoder(model).encode(TEXTS, "document")
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    said = [int(str(one.message).partition("here on ")[2].split()[0]) for one in warned]
    # The first batch had 9 texts of 42 tokens, and more of less.
    assert said == sorted(said, reverse=True)
    assert all(2 * later <= before for before, later in pairwise(said))
    assert max(n * length for n, length in taken) <= 200
    del taken[:]
    runner.encode(TEXTS, "document")  # once halved, for good and without a word
    assert sum(n for n, _ in taken) == len(TEXTS)


def test_a_budget_far_above_what_there_was_to_encode_is_halved_from_there(model):
    runner, _ = failing(encoder(model, batch_tokens=10**6), 100)
    with pytest.warns(RankstoneWarning) as warned:
        runner.encode(["fox " * 20] * 8, "document")
    assert [str(one.message).partition("here on ")[2].split()[0] for one in warned] == ["88"]


def test_a_single_text_too_long_for_the_device_is_an_end(model):
    runner, _ = failing(encoder(model, batch_tokens=64), 20)
    with pytest.raises(MemoryError, match=r"a single text .* parameters.max_length"):
        runner.encode(["fox " * 40], "document")


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        ("CUDA out of memory. Tried to allocate", OutOfMemoryError),
        ("MPS backend out of memory (MPS allocated", OutOfMemoryError),
        ("DefaultCPUAllocator: can't allocate memory: you tried", OutOfMemoryError),
        ("index out of range in self", RuntimeError),
    ],
)
def test_all_out_of_memory_errors_of_torch_are_recognised(model, monkeypatch, error, raised):
    import torch

    class Failing(torch.nn.Module):
        backbone = torch.nn.Identity()

        def forward(self, ids, mask):
            raise torch.OutOfMemoryError(error) if "CUDA" in error else RuntimeError(error)

    own = encoder(model)._tower("document").engines
    own._loaded = dataclasses.replace(own.network.load(), network=Failing())
    with pytest.raises(raised):
        own.engine.run(np.ones((1, 2), np.int64), np.ones((1, 2), np.int64))


def test_the_budget_is_that_of_the_device_in_use(model, monkeypatch):
    assert encoder(model)._tower("document")._budget == towers.CPU_BATCH_TOKENS
    own = encoder(model, batch_tokens=5)
    assert own._tower("document")._budget == 5


@pytest.mark.parametrize("free", [0, 2**22, 2**40])
def test_the_budget_of_a_gpu_is_what_its_free_memory_holds(model, monkeypatch, free):
    tower = encoder(model, device=None)._tower("document")
    parts = tower.engine and tower.engines._in_torch().network.backbone.modules()
    per_token = sum(4 * part.out_features for part in parts if hasattr(part, "out_features"))
    monkeypatch.setenv("RANKSTONE_DEVICE", "cuda:1")
    monkeypatch.setattr(towers, "free_bytes", {"cuda:1": free}.__getitem__)
    found = tower._budget
    assert found == {0: 1, 2**40: towers.GPU_BATCH_TOKENS}.get(free, found)
    assert not 0 < free < 2**40 or free / 3 < found * per_token <= free


# Windows, and tokens made ahead


@pytest.mark.parametrize("n_texts", [0, 1, 255, 256, 257, 1000])
def test_windows_are_consecutive_and_bounded(n_texts):
    texts = ["a"] * n_texts
    parts = list(batching.windows(texts))
    assert [text for part in parts for text in texts[part]] == texts
    assert all(1 <= len(texts[part]) <= batching.WINDOW_TEXTS for part in parts)


def test_a_window_holds_no_more_characters_than_memory_allows(monkeypatch):
    monkeypatch.setattr(batching, "WINDOW_CHARACTERS", 10)
    texts = ["a" * 4, "b" * 7, "c" * 3, "d" * 50, "e", "", "f"]
    parts = [texts[part] for part in batching.windows(texts)]
    assert parts == [["a" * 4], ["b" * 7, "c" * 3], ["d" * 50], ["e", "", "f"]]


def slices(n):
    return iter([slice(i, i + 1) for i in range(n)])


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_tokens_come_in_order(n):
    made = list(batching.ahead(lambda part: part.start * 10, slices(n)))
    assert made == [(i, 10 * i) for i in range(n)]


def test_the_next_tokens_are_made_while_the_last_are_encoded():
    started = threading.Event()

    def tokenise(part):
        if part.start == 1:
            started.set()
        return part.start

    tokens = batching.ahead(tokenise, slices(3))
    assert next(tokens) == (0, 0)
    assert started.wait(timeout=30)
    assert list(tokens) == [(1, 1), (2, 2)]


@pytest.mark.parametrize("bad", [0, 1, 3])
def test_an_error_of_the_tokenizer_is_not_lost(bad):
    def tokenise(part):
        if part.start == bad:
            raise ValueError(f"part {bad}")
        return part.start

    before, seen = threading.active_count(), []
    with pytest.raises(ValueError, match=f"part {bad}"):
        deque((seen.append(start) for start, _ in batching.ahead(tokenise, slices(4))), 0)
    assert seen == list(range(bad))
    assert threading.active_count() <= before


def test_an_encoder_that_is_given_up_leaves_no_thread():
    before = threading.active_count()
    tokens = batching.ahead(lambda part: part.start, slices(9))
    next(tokens)
    tokens.close()
    assert threading.active_count() <= before


# Truncation and limits


def wordpiece(folder):
    tiny_models.tokenizer().save_pretrained(folder)


def bytes_around(folder):
    tiny_encoders.bytes_tokenizer(folder, tiny_encoders.ROBERTA_SPECIAL)


def bytes_alone(folder):
    special = {"eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    tiny_encoders.bytes_tokenizer(folder, special, around=False)


def end_only(folder):
    """Write a tokenizer like T5's: a space before every text, and an end token after it."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0)]
    pieces += [(piece, -2.0) for piece in ("▁", "▁the", "▁f", "o", "x", "r", "i", "e")]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)


@pytest.mark.parametrize("write", [wordpiece, bytes_around, bytes_alone, end_only])
@pytest.mark.parametrize("limit", [None, 2, 3, 7, 16, 512])
def test_truncation_is_that_of_transformers(write, limit, tmp_path):
    from transformers import AutoTokenizer

    write(tmp_path)
    peer = AutoTokenizer.from_pretrained(tmp_path)
    own = Tokens(AutoTokenizer.from_pretrained(tmp_path).backend_tokenizer, pad=0, limit=limit)
    texts = [*TEXTS, "naïve café 漢字 🙂", " two  spaces ", "[SEP] </s> <|endoftext|>", "\n\t"]
    found = own.encode(texts)
    for text, ids, count in zip(texts, found.ids, found.counts, strict=True):
        cut = {} if limit is None else {"truncation": True, "max_length": limit}
        assert ids.tolist() == peer(text, **cut)["input_ids"]
        assert count == len(peer(text)["input_ids"])


@pytest.mark.parametrize("limit", [1, 2])
def test_a_limit_that_special_tokens_fill_leaves_them_whole(limit, tmp_path):
    wordpiece(tmp_path)
    own = Tokens(tiny_models.tokenizer().backend_tokenizer, pad=0, limit=limit)
    first, last = (tiny_models.VOCABULARY.index(token) for token in ("[CLS]", "[SEP]"))
    assert [ids.tolist() for ids in own.encode(["fox bear", ""]).ids] == [[first, last]] * 2


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_a_length_beyond_the_positions_is_refused_before_any_work(model, tmp_path, engine):
    with pytest.raises(DefinitionError, match=r"max_length': 513, .* positions for 512 tokens"):
        encoder(model, engine=engine, max_length=513).encode(["fox"], "query")
    tiny_encoders.unixcoder(tmp_path)  # RoBERTa: 514 positions, of which padding takes two
    roberta = encoder(located(tmp_path), engine=engine)
    assert roberta.describe()["max_length"] == {"query": 512, "document": 512}
    assert np.isfinite(roberta.encode(["fox " * 600], "query")).all()


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("files", ["tokenizer*", "model.safetensors"])
def test_a_model_without_all_its_files_is_named(tmp_path, engine, files):
    tiny_models.write_encoder(tmp_path)
    for path in tmp_path.glob(files):
        path.unlink()
    with pytest.raises(ModelError, match=r"Model 'tiny' in .* cannot be loaded"):
        encoder(located(tmp_path), engine=engine).encode(["fox"], "query")


# Remote code of a model's repository

HEAD = Vector(
    pooling="own", projection=(), layer_norm=False, dimensions=None, normalize=None,
    prompt_pooled=None,
)  # fmt: skip


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    folder = tmp_path_factory.mktemp("foreign")
    tiny_encoders.modular_star_encoder(folder)
    return located(folder)


def test_code_of_a_model_does_not_run_unasked(foreign):
    with pytest.raises(DefinitionError, match=r"code that its repository carries .*trust_remote"):
        Network(model=foreign, head=HEAD)


def test_code_from_the_hub_must_be_pinned(foreign):
    hub = dataclasses.replace(foreign, origin="hub cache", revision=None)
    with pytest.raises(DefinitionError, match="Pin its commit"):
        Network(model=hub, head=HEAD, trust_remote_code=True)
    pinned = dataclasses.replace(hub, revision="a1b2")
    Network(model=pinned, head=HEAD, trust_remote_code=True)
    Network(
        model=foreign, head=HEAD, trust_remote_code=True
    )  # a folder of one's own needs no commit


def test_a_type_that_transformers_has_needs_no_trust(tmp_path):
    tiny_models.write_encoder(tmp_path)
    path = tmp_path / "config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, "auto_map": {"AutoModel": "evil.Model"}}))
    (tmp_path / "evil.py").write_text("raise SystemExit('run')")
    runner = encoder(located(tmp_path))
    assert runner.encode(["fox"], "query").shape == (1, 32)
