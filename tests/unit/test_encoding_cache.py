"""The encoding cache: what is kept, what is charged, and what survives."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest

from rankstone.errors import DataError
from rankstone.execution import cache as cache_module
from rankstone.execution import shards
from rankstone.execution.cache import EncodingCache
from rankstone.profiling.clock import Clock
from rankstone.runners.protocols import Truncation

PHASE = "encode_documents"


class Texts:
    def __init__(self, n=50):
        self._texts = [f"document {i} " * (i % 5) for i in range(n)]

    def __len__(self):
        return len(self._texts)

    def texts(self, start, stop):
        return self._texts[start:stop]

    def take(self, positions):
        return [self._texts[i] for i in positions]


class Encoder:
    """Vectors that depend on the text only; counts what it encodes and can die on the way."""

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


def test_nothing_is_encoded_until_somebody_reads(make, tmp_path):
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


def killed(folder):
    run = EncodingCache(folder=folder, corpus=Texts(), key_material={}, clock=Clock(), shard_size=8)
    whole(run.chunks(Encoder(die_at=30, die=lambda: os.kill(os.getpid(), signal.SIGKILL))))


def test_a_killed_process_leaves_whole_shards_only(make, tmp_path):
    process = multiprocessing.get_context("spawn").Process(
        target=killed, args=(tmp_path / "cache",)
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    run = make(key_material={})
    assert len(files(tmp_path)) == 3
    whole(run.cache.chunks(Encoder()))
    assert run.cache.resumed


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

    monkeypatch.setattr(shards.os, "fsync", full)
    with pytest.raises(DataError, match=r"No space left on device.*--cache"):
        whole(make().cache.chunks(Encoder()))
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


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


def test_runners_that_encode_alike_share_chunks(make):
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


def test_progress_moves_within_a_shard(make, monkeypatch):
    monkeypatch.setattr(cache_module, "SLICE", 5)
    run = make()
    whole(run.cache.chunks(Encoder()))
    done = [event[1] for event in run.events]
    assert done[:4] == [5, 8, 13, 16]
    assert done[-1] == 50
    assert {event[0] for event in run.events} == {PHASE}


def fill(folder, queue):
    run = EncodingCache(folder=folder, corpus=Texts(), key_material={}, clock=Clock(), shard_size=8)
    queue.put(whole(run.chunks(FixedEncoder())).sum())


class FixedEncoder(Encoder):
    def encode(self, texts, role):
        return np.array([[len(t), t.count("o")] for t in texts], np.float32)


def test_two_processes_may_fill_the_same_key(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=fill, args=(tmp_path / "cache", queue)) for _ in range(2)]
    for worker in workers:
        worker.start()
    sums = [queue.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert sums[0] == sums[1] == FixedEncoder().encode(Texts().texts(0, 50), "document").sum()
    assert len(files(tmp_path)) == 7
