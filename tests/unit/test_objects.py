"""Python objects as methods: names, errors, and search functions."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rankstone
from rankstone.errors import AdapterError, DefinitionError
from rankstone.execution.contract import hits_of, index_of, one_each
from rankstone.runners.construct import build_runner
from rankstone.runners.objects.content import content_digest
from rankstone.runners.objects.function import FunctionIndex
from rankstone.runners.objects.method import (
    import_method,
    is_object_name,
    object_method,
    pack,
    unpack,
)
from rankstone.runners.protocols import Hits
from rankstone.runners.testing import PlainIds
from rankstone.specs import MethodSpec
from rankstone.workspace import Workspace, several
from tests.conftest import ROOT

DIGEST = "from rankstone.runners.objects.content import content_digest as digest\n"


class Mine(rankstone.Runner):
    def __init__(self, **state: Any) -> None:
        self.__dict__.update(state)

    def encode(self, texts: Any, role: Any) -> Any:
        return list(texts)

    def index(self, documents: Any, context: Any) -> Any: ...


def executed(code: str, seed: int = 0) -> list[Any]:
    """Return the JSON printed by `code`, in a process with another hash seed."""
    done = subprocess.run(
        [sys.executable, "-c", DIGEST + "import json\n" + code],
        env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": str(seed)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: list[Any] = json.loads(done.stdout)
    return found


STATES: list[dict[str, Any]] = [
    {"a": 1}, {"a": 1.0}, {"a": True}, {"a": "1"}, {"a": b"1"}, {"a": None}, {"b": 1},
    {"a": [1, 2]}, {"a": (1, 2)}, {"a": {1, 2}}, {"a": {1: 2}}, {"a": [[1], 2]},
    {"a": np.array([1, 2])}, {"a": np.array([1, 2], np.int32)}, {"a": np.array([[1, 2]])},
    {"a": np.array([1, 2], object)}, {"a": np.float32(1)}, {"a": Mine(a=1)}, {"a": json.dumps},
    {"a": json}, {"a": Path("x")}, {"a": functools.partial(max, 1)}, {"a": len},
]  # fmt: skip


def test_other_state_is_another_digest_and_equal_state_the_same() -> None:
    assert len({content_digest(Mine(**state)) for state in STATES}) == len(STATES)
    again = np.array([0, 1, 0, 2])[1::2]
    assert content_digest(Mine(a=again)) == content_digest(Mine(a=np.array([1, 2])))
    assert content_digest(Mine(x=1, y=2)) == content_digest(Mine(y=2, x=1))


def test_state_that_refers_to_itself_ends() -> None:
    mine = Mine()
    mine.me = mine  # type: ignore[attr-defined]
    assert content_digest(mine) == content_digest(mine)


def test_a_cached_property_is_no_state() -> None:
    class Cached(Mine):
        @functools.cached_property
        def model(self) -> int:
            return 3

    one, other = Cached(a=1), Cached(a=1)
    assert one.model == 3
    assert content_digest(one) == content_digest(other)


CODE = """
HELP = {help}
def helper(x): return x + HELP
def make():
    factor = {factor}
    class Mine:
        kinds = {{"a", "b", "c"}}
        def encode(self, texts): return helper({add}) * factor
        @staticmethod
        def other(x): return [helper(y) for y in x]
    return Mine
"""


def test_code_without_a_file_is_read_with_what_it_uses() -> None:
    def code(**values: int) -> str:
        return CODE.format(**{"help": 1, "factor": 1, "add": 1, **values})

    changes: list[dict[str, int]] = [{}, {}, {"help": 2}, {"factor": 2}, {"add": 2}]
    program = "found = []\n" + "\n".join(
        f"exec({code(**change)!r}, space := {{'__name__': '__main__'}})\n"
        "found.append(digest(space['make']()()))"
        for change in changes
    )
    found = executed(f"{program}\nprint(json.dumps(found))")
    assert found == executed(f"{program}\nprint(json.dumps(found))", seed=7)
    assert found[0] == found[1]
    assert len(set(found)) == len(changes) - 1


def test_code_in_a_file_is_read_with_what_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "of_mine.py").write_text("import aside_mine\ndef search(queries, k): ...\n")
    (tmp_path / "aside_mine.py").write_text("x = 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    names = [import_method("of_mine:search").name]
    for file in ("aside_mine.py", "of_mine.py"):
        (tmp_path / file).write_text((tmp_path / file).read_text() + "# edited\n")
        importlib.invalidate_caches()
        names.append(import_method("of_mine:search").name)
    assert len(set(names)) == 3
    assert all(name.startswith("python/search+") for name in names)
    assert sys.path[-1] == str(tmp_path)  # behind all libraries


@pytest.mark.parametrize("line", ["import beside", "from beside import x as beside"])
@pytest.mark.parametrize("inside", [True, False])
def test_a_script_is_read_with_the_modules_beside_it(
    line: str, inside: bool, tmp_path: Path
) -> None:
    body = f"    {line}\n    return beside\n"
    code = f"def search(queries, k):\n{body}" if inside else f"{line}\ndef search(q, k): beside\n"
    (tmp_path / "script.py").write_text(f"{DIGEST}{code}print(digest(search))")
    found = []
    for text in ("def x(): return 1\n", "def x(): return 1\n# edited\n"):
        (tmp_path / "beside.py").write_text(text)
        command = [sys.executable, str(tmp_path / "script.py")]
        found += [subprocess.run(command, capture_output=True, check=True).stdout]
    assert found[0] != found[1]


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("of_nobody:search", "no module 'of_nobody'"),
        ("json:dunps", "Did you mean: dump"),
        ("sys:maxsize", "a int without 'encode' is no method"),
    ],
)
def test_a_name_of_nothing_is_refused(
    name: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(DefinitionError, match=fault):
        import_method(name)


def test_names_of_sources_are_none_of_objects() -> None:
    assert is_object_name("package.module:NAME")
    for name in ("hf:BAAI/bge", "mteb:name", "lucene:name", "irds:x", "dense/x", "bm25", "./x:y"):
        assert not is_object_name(name)


class Client:
    def __init__(self) -> None:
        self.parts = {"lock": threading.Lock()}


def test_objects_that_cannot_be_sent_are_named() -> None:
    with pytest.raises(DefinitionError, match=r"'Mine\.client\.parts\['lock'\]', a lock, cannot"):
        object_method(Mine(client=Client()))
    lock = threading.Lock()
    with pytest.raises(DefinitionError, match="'search: lock', a lock, cannot"):
        object_method(_searching(lock))


def _searching(lock: Any) -> Any:
    def search(queries: Any, k: int) -> Any:
        with lock:
            return [{} for _ in queries]

    return search


def test_objects_that_are_not_methods_are_refused() -> None:
    with pytest.raises(DefinitionError, match=r"inherit from rankstone\.Runner"):
        object_method(3)

    class Needs(Mine):
        def __init__(self, model: str) -> None: ...

    with pytest.raises(DefinitionError, match="Pass an object, not its class"):
        object_method(Needs)


def test_an_object_arrives_with_its_state(tmp_path: Path) -> None:
    method = object_method(Mine(a=7))
    pack(method, tmp_path)
    plain = MethodSpec.model_validate_json(method.model_dump_json())
    assert plain.digest() == method.digest()
    assert unpack(plain, tmp_path).runner.a == 7  # type: ignore[attr-defined]


def test_one_needs_no_list() -> None:
    mine = Mine()
    assert several(mine) == [mine]
    assert several("bm25") == ["bm25"]
    assert several(len) == [len]
    assert several(("a", mine)) == ["a", mine]
    spec = MethodSpec(name="m", description="d", adapter="bm25")
    assert several(spec) == [spec]


def test_the_base_describes_attributes_and_truncates_nothing() -> None:
    described = Mine(scale=2, vectors=np.zeros(3)).describe()
    assert described["parameters"] == {"scale": 2}
    assert described["sha256"] != Mine(scale=2, vectors=np.ones(3)).describe()["sha256"]
    assert Mine().truncation(["x"], "query") is None


IDS = PlainIds(("a", "b", "c", "d"))


def test_a_functions_scores_become_hits_best_first() -> None:
    row = {"c": 1, "a": 2.5, "b": 1.0, "x": 9.0, "d": np.float32(-1)}
    index = FunctionIndex(lambda queries, k: [row, {}], "f", IDS)
    hits = index.search(["q", "r"], 3)
    assert hits.docs.tolist() == [[0, 2, 1], [-1, -1, -1]]
    assert hits.scores[0].tolist() == [2.5, 1, 1]
    index.search(["q", "r"], 3)
    [note] = index.notes()
    assert "1 ids" in note
    assert "'x'" in note


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (None, "returned NoneType"),
        ({"q": {"a": 1.0}}, "returned dict"),
        ([{"a": 1.0}, {}], "returned 2 rows for 1 queries"),
        ([["a"]], "returned list for query 0"),
        ([{1: 1.0}], "returned int -> float"),
        ([{"a": "1"}], "returned str -> str"),
        ([{"b": 1.0, "a": float("nan")}], "returned NaN for document 'a' of query 0"),
    ],
)
def test_a_functions_wrong_type_is_named(rows: Any, fault: str) -> None:
    with pytest.raises(AdapterError, match=f"{fault}.*; expected a list with one dict"):
        FunctionIndex(lambda queries, k: rows, "f", IDS).search(["q"], 2)


def test_an_adapters_wrong_type_is_named() -> None:
    with pytest.raises(AdapterError, match="encode returned NoneType for 2 texts"):
        one_each(None, 2, "m")
    with pytest.raises(AdapterError, match="encode returned list of length 1 for 2 texts"):
        one_each([1], 2, "m")
    with pytest.raises(AdapterError, match="index returned NoneType; expected an object"):
        index_of(None, "m")
    with pytest.raises(AdapterError, match="search returned tuple; expected"):
        hits_of((1, 2), "m")
    assert hits_of(Hits.empty(1, 2), "m").docs.tolist() == [[-1, -1]]


@dataclasses.dataclass(frozen=True)
class Frozen(rankstone.Runner):
    scale: int = 1

    def encode(self, texts: Any, role: Any) -> Any:
        return list(texts)

    def index(self, documents: Any, context: Any) -> Any: ...


def test_names_follow_class_and_parameters() -> None:
    name = object_method(Frozen()).name
    assert {object_method(same).name for same in (Frozen, Frozen(), Frozen(1))} == {name}
    assert object_method(Frozen(2)).name != name


def test_settings_by_hand_are_refused() -> None:
    method = object_method(Frozen())
    assert build_runner(method) == Frozen()
    changed = method.model_copy(update={"parameters": {**method.parameters, "scale": 2}})
    with pytest.raises(DefinitionError, match="--set scale: 'python/Frozen"):
        build_runner(changed)
    names = [one.name for one in Workspace.find(ROOT).methods([Frozen(), "bm25", Frozen()])]
    assert names == [method.name, "lexical/bm25"]
