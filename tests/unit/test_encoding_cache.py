"""The encoding cache: reuse, charged costs, and interruptions."""

from __future__ import annotations

import errno
import os
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankstone.encodings import duplicates as repeats
from rankstone.encodings import metering, shards
from rankstone.encodings.cache import EncodingCache
from rankstone.encodings.duplicates import encode_distinct
from rankstone.encodings.shards import read_about
from rankstone.errors import DataError
from rankstone.profiling.clock import Clock
from rankstone.runners.meter import Work, report
from rankstone.runners.protocols import Truncation

PHASE = "encode_documents"


class Texts:
    def __init__(self, n=50):
        self._texts = [f"document {i} " * (1 + i % 5) for i in range(n)]

    def __len__(self):
        return len(self._texts)

    def texts(self, start, stop):
        return self._texts[start:stop]

    def take(self, positions):
        return [self._texts[i] for i in positions]


class Encoder:
    """Encoder of vectors that depend only on the text; counts texts and can fail midway."""

    def __init__(self, *, cacheable=True, name="v1", batch_size=32, die_at=None, die=None):
        self.cacheable = cacheable
        self.name, self.batch_size = name, batch_size
        self.encoded = 0
        self.die_at, self.die = die_at, die

    def describe(self):
        return {"name": self.name}

    def encode(self, texts, role):
        if self.die_at is not None and self.encoded + len(texts) > self.die_at:
            self.die()
        self.encoded += len(texts)
        return np.array([[len(t), hash(t) % 97, t.count("o")] for t in texts], np.float32).reshape(
            -1, 3
        )

    def truncation(self, texts, role):
        return Truncation(len(texts), sum(len(t) > 20 for t in texts), 10, 1)


@pytest.fixture
def make(tmp_path):
    def build(**changes):
        events = []
        built = EncodingCache(
            **{
                "folder": tmp_path / "cache",
                "corpus": Texts(),
                "key_material": {"corpus": "abc", "text": "{text}"},
                "clock": Clock(),
                "progress": lambda *event: events.append(event),
                "shard_size": 8,
                **changes,
            }
        )
        return SimpleNamespace(cache=built, events=events, clock=built.clock)

    return build


def whole(chunks):
    return np.concatenate(list(chunks))


def files(tmp_path):
    return sorted((tmp_path / "cache").rglob("*.shard"))


def left_over(tmp_path):
    """Return files of encodings, complete or not."""
    return [path for path in (tmp_path / "cache").rglob("*") if path.suffix in (".shard", ".tmp")]


def stop():
    raise KeyboardInterrupt


def test_a_second_run_reads_what_the_first_encoded(make, tmp_path):
    first, second = make(), make()
    fresh = whole(first.cache.chunks(Encoder()))
    encoder = Encoder()
    np.testing.assert_array_equal(whole(second.cache.chunks(encoder)), fresh)
    np.testing.assert_array_equal(fresh, Encoder().encode(Texts().texts(0, 50), "document"))
    assert encoder.encoded == 0
    assert len(files(tmp_path)) == 7
    one, other = first.clock.phases()[PHASE], second.clock.phases()[PHASE]
    assert (one.items, one.from_cache) == (50, 0)
    assert (other.items, other.from_cache) == (50, 1)
    assert 0 < other.wall_s <= one.wall_s
    assert first.cache.keys_filled == second.cache.keys_hit == [first.cache.key(encoder)]
    assert first.cache.keys_hit == second.cache.keys_filled == []


class Slow(Encoder):
    """Loads its model at the first call."""

    loads = 0

    def encode(self, texts, role):
        if not self.loads:
            time.sleep(0.3)
        self.loads += 1
        return super().encode(texts, role)


def test_loading_a_model_of_documents_is_charged_as_that(make):
    first, encoder = make(), Slow()
    whole(first.cache.chunks(encoder))
    phases = first.clock.phases()
    assert phases["load"].wall_s >= 0.3
    second, cached = make(), Slow()
    whole(second.cache.chunks(cached))
    assert cached.loads == 0, "what is kept needs no model"


def test_encoding_is_lazy(make, tmp_path):
    encoder = Encoder()
    assert len(make().cache.chunks(encoder)) == 50
    assert encoder.encoded == 0
    assert not files(tmp_path)


def test_iterating_again_neither_encodes_nor_charges(make):
    run, encoder = make(), Encoder()
    first, second = whole(run.cache.chunks(encoder)), whole(run.cache.chunks(encoder))
    np.testing.assert_array_equal(first, second)
    assert encoder.encoded == run.clock.phases()[PHASE].items == 50


@pytest.mark.parametrize("batch_size", [1, 64])
def test_a_stopped_run_resumes_at_the_first_missing_shard(make, tmp_path, batch_size):
    with pytest.raises(KeyboardInterrupt):
        whole(make().cache.chunks(Encoder(die_at=20, die=stop)))
    assert len(files(tmp_path)) == 2
    run, encoder = make(), Encoder(batch_size=batch_size)
    chunks = run.cache.chunks(encoder)
    np.testing.assert_array_equal(whole(chunks), Encoder().encode(Texts().texts(0, 50), "document"))
    assert encoder.encoded == 34
    assert run.cache.resumed
    assert run.clock.phases()[PHASE].from_cache == pytest.approx(16 / 50)
    assert chunks.truncation == Truncation(50, chunks.truncation.texts_cut, 70, 7)


@pytest.mark.parametrize("damage", ["flip", "shorten", "empty", "footer"])
def test_a_damaged_shard_is_built_again(make, tmp_path, damage):
    fresh = whole(make().cache.chunks(Encoder()))
    victim = files(tmp_path)[3]
    content = bytearray(victim.read_bytes())
    if damage == "flip":
        content[5] ^= 1
    elif damage == "footer":
        content[-60] ^= 1
    victim.write_bytes({"shorten": content[:-9], "empty": b""}.get(damage, content))
    run, encoder = make(), Encoder()
    chunks = run.cache.chunks(encoder)
    np.testing.assert_array_equal(whole(chunks), fresh)
    assert encoder.encoded == 8
    assert [victim.name in fault for fault in chunks.damaged] == [True]


def test_a_full_disk_leaves_nothing_half_written(make, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"No space left on device.*--cache"):
        whole(make().cache.chunks(Encoder()))
    assert not left_over(tmp_path)


def test_a_folder_that_cannot_be_made_is_a_data_error(make, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written"):
        whole(make().cache.chunks(Encoder()))


def test_old_leftovers_are_swept(make, tmp_path):
    run = make()
    folder = tmp_path / "cache" / run.cache.key(Encoder())
    folder.mkdir(parents=True)
    old, young = folder / ".a.tmp", folder / ".b.tmp"
    old.touch()
    young.touch()
    os.utime(old, (0, 0))
    run.cache.chunks(Encoder())
    assert (old.exists(), young.exists()) == (False, True)


def test_the_key_holds_everything_but_the_batch_size(make):
    key = make().cache.key(Encoder())
    assert make().cache.key(Encoder(batch_size=1)) == key
    assert make().cache.key(Encoder(name="v2")) != key
    assert make(key_material={"corpus": "abc", "text": "{title}"}).cache.key(Encoder()) != key


def test_runners_with_equal_encodings_share_chunks(make):
    cache = make().cache
    assert cache.chunks(Encoder()) is cache.chunks(Encoder())


def test_cheap_encodings_are_made_and_charged_every_time(make, tmp_path):
    run, encoder = make(), Encoder(cacheable=False)
    chunks = run.cache.chunks(encoder)
    np.testing.assert_array_equal(whole(chunks), whole(chunks))
    assert encoder.encoded == run.clock.phases()[PHASE].items == 100
    assert chunks.truncation.texts == 50
    assert not files(tmp_path)


@pytest.mark.parametrize("cacheable", [True, False])
def test_take_and_sample_open_only_what_they_need(make, cacheable):
    encoder = Encoder(cacheable=cacheable)
    chunks = make().cache.chunks(encoder)
    everything = Encoder().encode(Texts().texts(0, 50), "document")
    positions = np.array([41, 3, 3, 40, 0])
    np.testing.assert_array_equal(chunks.take(positions), everything[positions])
    assert encoder.encoded == (16 if cacheable else 5)  # two shards, or just those texts
    assert chunks.take(np.array([], dtype=np.int64)).shape == (0, 3)
    sample = chunks.sample(10, seed=1)
    np.testing.assert_array_equal(sample, chunks.sample(10, seed=1))
    assert len(sample) == 10
    np.testing.assert_array_equal(chunks.sample(99, seed=1), everything)


class Telling(Encoder):
    """Reports progress every five texts."""

    def encode(self, texts, role):
        for start in range(0, len(texts), 5):
            n = len(texts[start : start + 5])
            report(Work(texts=n, tokens=7 * n, flops=100.0 * n))
        return super().encode(texts, role)


def test_progress_advances_within_a_shard_if_the_encoder_reports(make):
    run = make()
    whole(run.cache.chunks(Telling()))
    assert [event[1] for event in run.events][:6] == [5, 8, 8, 13, 16, 16]
    assert run.events[-1] == (PHASE, 50, 50)
    silent = make(key_material={})
    whole(silent.cache.chunks(Encoder()))
    assert [event[1] for event in silent.events] == [8, 16, 24, 32, 40, 48, 50]


def test_work_is_counted_and_kept_with_the_shard(make):
    first, second = make(), make()
    whole(first.cache.chunks(Telling()))
    whole(second.cache.chunks(Telling()))
    for run in (first, second):
        phase = run.clock.phases()[PHASE]
        assert (phase.tokens, phase.flops) == (350, 5000.0)
    silent = make(key_material={})
    whole(silent.cache.chunks(Encoder()))
    phase = silent.clock.phases()[PHASE]
    assert (phase.tokens, phase.flops) == (None, None)


@pytest.mark.parametrize("cacheable", [True, False])
def test_tokens_are_counted_when_chunks_are_taken(make, cacheable):
    run = make()
    run.cache.chunks(Telling(cacheable=cacheable)).take(np.arange(8))
    assert run.clock.phases()[PHASE].tokens == 56


class Peaked(Telling):
    def describe(self):
        return {"name": self.name, "precision": self.name}


def test_utilisation_is_known_on_the_machine_that_encoded(make, monkeypatch):
    asked = []
    monkeypatch.setattr(
        metering, "matmul_peak", lambda *of: asked.append(of) or (2e9 if of[0] == "fp32" else 4e9)
    )
    for hardware in ("here", "there", "here"):
        run = make(hardware=hardware)
        assert run.cache.efficiency == (None, None)
        whole(run.cache.chunks(Peaked(name="fp32")))
        assert run.cache.efficiency.peak_flops_per_s == (2e9 if hardware == "here" else None)
    # A cached phase is charged the cost of its shards.
    wall_s = run.clock.phases()[PHASE].wall_s
    assert run.cache.efficiency.flop_utilisation == pytest.approx(5000 / wall_s / 2e9)
    assert asked == [("fp32", "cpu")], "the peak is measured once, beside the encoding"
    whole(run.cache.chunks(Peaked(name="bf16")))
    assert run.cache.efficiency == (None, None), "two kernels have no one peak"


class Repeating(Texts):
    """Documents given by the numbers of their texts; by default 50 of three texts."""

    def __init__(self, numbers=tuple(i % 3 for i in range(50))):
        self._texts = [f"text {number}" for number in numbers]


@pytest.mark.parametrize("cacheable", [True, False])
def test_identical_texts_of_a_corpus_are_encoded_once(make, cacheable):
    encoder, corpus = Encoder(cacheable=cacheable), Repeating()
    rows = whole(make(corpus=corpus).cache.chunks(encoder))
    np.testing.assert_array_equal(rows, Encoder().encode(corpus.texts(0, 50), "document"))
    assert encoder.encoded == (3 if cacheable else 50)


@given(
    numbers=st.lists(st.integers(0, 12), min_size=1, max_size=60),
    lost=st.sets(st.integers(0, 7)),
    damaged=st.sets(st.integers(0, 7)),
)
@settings(max_examples=60, deadline=None)
def test_a_text_is_taken_from_whichever_earlier_shard_is_whole(numbers, lost, damaged):
    """Lost or damaged shards are encoded again, and no text twice."""
    corpus = Repeating(numbers)
    expected = Encoder().encode(corpus.texts(0, len(numbers)), "document")
    with tempfile.TemporaryDirectory() as folder:

        def chunks(encoder):
            cache = EncodingCache(
                folder=Path(folder), corpus=corpus, key_material={}, clock=Clock(), shard_size=8
            )
            return cache.chunks(encoder)

        encoder = Encoder()
        np.testing.assert_array_equal(whole(chunks(encoder)), expected)
        assert encoder.encoded == len(set(numbers))
        for part, path in enumerate(sorted(Path(folder).rglob("*.shard"))):
            if part in lost:
                path.unlink()
            elif part in damaged:
                path.write_bytes(b"?" + path.read_bytes()[1:])
        again, gone = Encoder(), lost | damaged
        np.testing.assert_array_equal(whole(chunks(again)), expected)
        firsts = {number: row // 8 for row, number in reversed([*enumerate(numbers)])}
        assert again.encoded == sum(part in gone for part in firsts.values())


def test_a_shard_read_before_those_that_its_texts_are_first_in(make):
    run, encoder, corpus = make(corpus=Repeating()), Encoder(), Repeating()
    chunks = run.cache.chunks(encoder)
    expected = Encoder().encode(corpus.texts(0, 50), "document")
    np.testing.assert_array_equal(chunks.take(np.array([41, 40])), expected[[41, 40]])
    assert encoder.encoded == 3
    np.testing.assert_array_equal(whole(chunks), expected)
    assert run.clock.phases()[PHASE].items == 50


def test_texts_with_equal_hashes_are_distinguished(make, monkeypatch):
    monkeypatch.setattr(repeats, "hash", lambda text: 7, raising=False)
    encoder, corpus = Encoder(), Repeating([0, *range(30), 0])
    rows = whole(make(corpus=corpus).cache.chunks(encoder))
    np.testing.assert_array_equal(rows, Encoder().encode(corpus.texts(0, 32), "document"))
    assert encoder.encoded == 30, "the hash is that of the first text, which is taken"


def test_identical_queries_are_encoded_once_if_encoding_is_expensive():
    texts = ["b", "a", "b", "b"]
    for cacheable, encoded in ((True, 2), (False, 4)):
        encoder = Encoder(cacheable=cacheable)
        rows = encode_distinct(encoder, texts, "query")
        np.testing.assert_array_equal(rows, Encoder().encode(texts, "query"))
        assert encoder.encoded == encoded
    assert len(encode_distinct(Encoder(), [], "query")) == 0


def test_a_folder_says_what_it_is_for(make):
    for method in ("dense/a", "dense/a", "hybrid/b"):
        run = make(use={"method": method, "task": "beir/x"})
        whole(run.cache.chunks(Encoder()))
    folder = run.cache.folder / run.cache.key(Encoder())
    about = read_about(folder)
    assert about["uses"] == [
        {"method": method, "task": "beir/x"} for method in ("dense/a", "hybrid/b")
    ]
    assert (about["documents"], about["shards"], about["runner"]) == (50, 7, {"name": "v1"})
    (folder / "about.json").write_text("{")
    assert read_about(folder) == {}
    run = make()
    assert whole(run.cache.chunks(Encoder())).shape == (50, 3)


class Described(Encoder):
    """Encodes as it describes itself."""

    def __init__(self, **described):
        super().__init__()
        self.described = {**BASE, **described}

    def describe(self):
        return self.described

    def encode(self, texts, role):
        shift = sum(map(ord, repr(self.described)))
        return super().encode(texts, role) + np.float32(shift)


BASE = {
    "model": "tiny",
    "origin": "hub",
    "revision": "abc",
    "prompts": {"query": "", "document": ""},
    "max_length": 256,
    "pooling": "mean",
    "dtype": "float32",
    "precision": "fp32",
    "engine": "torch 2.13.0",
    "normalized": True,
    "files": {"model.safetensors": "aa"},
}
CHANGES = [
    {"prompts": {"query": "", "document": "passage: "}},
    {"max_length": 512},
    {"max_length": None},
    {"pooling": "cls"},
    {"dtype": "bfloat16"},
    {"precision": "bf16"},
    {"engine": "openvino 2026.1"},
    {"engine": "torch 2.13.1"},
    {"normalized": False},
    {"files": {"model.safetensors": "ab"}},
    {"revision": "abd"},
    {"chunks": {"limit": 9}},
    {"query": "weighed"},  # of unknown meaning, like all that is not told by role
    {"max_length": {"query": 256, "document": 512}},
    {"prompts": {"query": "", "document": "", "passage": ""}},
]
SAME = [
    {"prompts": {"query": "query: ", "document": ""}},
    {"query_model": {"model": "other", "files": {"model.safetensors": "cc"}}},
    {"origin": "hub cache"},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_encodings_of_other_settings_are_never_used(make, change):
    former = whole(make().cache.chunks(Described()))
    run, encoder = make(), Described(**change)
    rows = whole(run.cache.chunks(encoder))
    assert encoder.encoded == 50
    assert not run.cache.keys_hit
    assert (rows != former).any()
    again = Described()
    np.testing.assert_array_equal(whole(make().cache.chunks(again)), former)
    assert again.encoded == 0


@pytest.mark.parametrize("change", SAME, ids=lambda change: next(iter(change)))
def test_settings_for_queries_only_keep_the_documents_key(make, change):
    former = whole(make().cache.chunks(Described()))
    encoder = Described(**change)
    np.testing.assert_array_equal(whole(make().cache.chunks(encoder)), former)
    assert encoder.encoded == 0


role = st.fixed_dictionaries({"query": st.text(max_size=2), "document": st.text(max_size=2)})


@given(one=role, other=role, nested=st.booleans())
def test_of_descriptions_by_role_only_the_documents_side_is_in_the_key(one, other, nested):
    def key(value):
        described = {"chunks": [{"prompts": value}]} if nested else {"prompts": value}
        cache = EncodingCache(folder=Path(), corpus=Texts(), key_material={}, clock=Clock())
        return cache.key(Described(**described))

    assert (key(one) == key(other)) == (one["document"] == other["document"])


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_a_flipped_bit_anywhere_in_a_shard_is_seen(shard, place, bit):
    path, content = shard
    flipped = bytearray(content)
    flipped[int(place * len(content))] ^= 1 << bit
    path.write_bytes(flipped)
    with pytest.raises(shards.DamagedShardError):
        shards.read_info(path, 5)


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    path = tmp_path_factory.mktemp("shard") / "000000.shard"
    rep = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    cost = shards.Cost(1.0, 2.0, 3)
    shards.write_shard(path, rep, documents=5, cost=cost, truncation=None)
    assert shards.read_info(path, 5).cost == cost
    return path, path.read_bytes()
