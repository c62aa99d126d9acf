"""The embedded benchmark, on small sources."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from rankstone.benchmarks.dataset import RawDataset, Sources
from rankstone.benchmarks.loaders import stdlib
from rankstone.benchmarks.store import open_dataset
from rankstone.errors import DefinitionError
from rankstone.specs import TaskSpec

SOURCES = Sources(data=None, cache=Path("unused"))


def raw(root: Path, part: str = "functions", **sizes: Any) -> RawDataset:
    task = TaskSpec(name="s/t", description="", dataset="s/t", loader="a:b")
    return stdlib.load(task, SOURCES, part=part, folder=str(root), **sizes)


def built(tmp_path: Path, source: str, part: str = "functions") -> dict[str, str]:
    (tmp_path / "mod.py").write_text(dedent(source), encoding="utf-8")
    return {document.id: document.text for document in raw(tmp_path, part).documents()}


def test_a_function_loses_its_docstring_and_its_indent(tmp_path: Path) -> None:
    source = '''
        class Box:
            @property
            def size(self):
                """How large the box is.

                In cubes.
                """
                # a comment
                return """
        flush left"""
    '''
    assert built(tmp_path, source) == {
        "mod.Box.size": '@property\ndef size(self):\n    # a comment\n    return """\nflush left"""'
    }


def test_docstrings_that_share_their_line(tmp_path: Path) -> None:
    source = """
        def a(): "é — one line"; return 1
        def b(): 'only a docstring'
        async def c(
            x,
        ):
            'first'; y = 2
            return y
    """
    assert built(tmp_path, source) == {
        "mod.a": "def a(): ; return 1",
        "mod.b": "def b(): ",
        "mod.c": "async def c(\n    x,\n):\n    ; y = 2\n    return y",
    }


def test_ids_are_qualified_and_unique(tmp_path: Path) -> None:
    source = """
        if 1:
            def f(): "one"
        else:
            def f(): "two"
        def outer():
            "outer"
            def inner(): "inner"
        class A:
            class B:
                def f(self): "three"
        def silent(): pass
        def blank(): "  "
    """
    assert list(built(tmp_path, source)) == [
        "mod.f",
        "mod.f#2",
        "mod.outer",
        "mod.outer.inner",
        "mod.A.B.f",
    ]


def test_queries_are_first_paragraphs_unique_and_of_four_words(tmp_path: Path) -> None:
    source = '''
        def a():
            """Return   the one
            true answer.

            More."""
        def b(): "Too few words"
        def c(): "The same text here twice"
        def d(): "The same text here twice"
    '''
    built(tmp_path, source)
    found = raw(tmp_path)
    assert [(q.id, q.text) for q in found.queries()] == [
        ("mod.a.__doc__", "Return the one true answer.")
    ]
    judged = {s: [tuple(j) for j in found.judgements(s)] for s in found.splits()}
    assert judged == {
        stdlib.split_of("mod.a"): [("mod.a.__doc__", "mod.a", 1)],
        **{s: [] for s in judged if s != stdlib.split_of("mod.a")},
    }


def test_a_module_is_its_source_without_the_docstring(tmp_path: Path) -> None:
    source = '"""What this module is.\n\nMore."""\nimport os\n\ndef f():\n    "kept as it is"\n'
    assert built(tmp_path, source, "modules") == {
        "mod": 'import os\n\ndef f():\n    "kept as it is"'
    }
    assert built(tmp_path, '"Nothing but a docstring"', "modules") == {}


def test_tests_caches_and_platform_files_take_no_part(tmp_path: Path) -> None:
    names = [
        "b.py", "a/__init__.py", "a/z.py", "a/tests/x.py", "test/x.py", "site-packages/p/x.py",
        "idlelib/x.py", "tkinter/x.py", "a/__pycache__/x.py", "config-3/x.py", "a/x.txt",
        "_sysconfigdata_x.py", "a.py",
    ]  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert stdlib.source_files(tmp_path) == ["a.py", "a/__init__.py", "a/z.py", "b.py"]
    assert [stdlib.module_name(n) for n in ("a.py", "a/__init__.py", "a/z.py")] == ["a", "a", "a.z"]


def test_files_that_do_not_parse_and_old_escapes_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def :")
    (tmp_path / "latin.py").write_bytes(b"'\xff'")
    (tmp_path / "nul.py").write_bytes(b"x = 1\0")
    (tmp_path / "cookie.py").write_bytes(b"# coding: latin-1\ndef f(): '\xe9t\xe9'; g()\n")
    source = "def a():\n    'doc'\n    return '\\d'\n\x0cdef b():\n    'doc'\n    return 2\n"
    assert built(tmp_path, source)["mod.b"] == "def b():\n    return 2"
    assert built(tmp_path, source)["cookie.f"] == "def f(): ; g()"


def test_the_fingerprint_follows_the_files(tmp_path: Path) -> None:
    built(tmp_path, "x = 1")
    first = raw(tmp_path).fingerprint
    assert raw(tmp_path).fingerprint == first
    built(tmp_path, "x = 12")
    assert raw(tmp_path).fingerprint != first
    assert raw(tmp_path, "modules").fingerprint != raw(tmp_path).fingerprint


def test_another_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"'source\.part': expected 'functions' or 'modules'"):
        raw(tmp_path, "classes")


@pytest.mark.parametrize("n", [0, -5, True, "10", 2.5])
@pytest.mark.parametrize("key", ["documents", "asked_of"])
def test_a_size_that_is_no_number_of_documents_is_refused(tmp_path: Path, key: str, n: Any) -> None:
    with pytest.raises(DefinitionError, match=rf"'source\.{key}': expected a number from 1"):
        raw(tmp_path, **{key: n})


def test_the_content_does_not_depend_on_the_path(tmp_path: Path) -> None:
    digests = []
    for place in ("one", "two/three"):
        (tmp_path / place).mkdir(parents=True)
        built(tmp_path / place, "def a(): 'One two three four'\n")
        task = TaskSpec(
            name="s/t",
            description="",
            dataset="s/t",
            loader="stdlib",
            split=stdlib.split_of("mod.a"),
            source={"part": "functions", "folder": str(tmp_path / place)},
        )
        sources = Sources(data=None, cache=tmp_path / "cache")
        digests.append(open_dataset(task, sources).sha256)
    assert digests[0] == digests[1]


def test_the_running_interpreter_has_a_library_to_read() -> None:
    root = Path(sysconfig.get_paths()["stdlib"])
    files = stdlib.source_files(root)
    assert len(files) > 300
    assert {"json/decoder.py", "abc.py"} <= set(files)
    assert not [name for name in files if "/test/" in f"/{name}" or os.sep + os.sep in name]


def test_smaller_corpora_are_part_of_larger_ones_and_ask_the_same(tmp_path: Path) -> None:
    source = "".join(
        f"def f{n}():\n    'Do the thing number {n}.'\n    return {n}\n" for n in range(40)
    )
    (tmp_path / "m.py").write_text(source)
    small, large = (
        raw(tmp_path, **sizes) for sizes in ({"documents": 10}, {"documents": 30, "asked_of": 10})
    )
    few, many = ([doc.id for doc in one.documents()] for one in (small, large))
    assert (len(few), len(many)) == (10, 30)
    assert set(few) < set(many)
    assert few == [id for id in many if id in set(few)], "in the order of the source"
    for split in ("train", "test"):
        assert list(small.judgements(split)) == list(large.judgements(split))
    assert list(small.queries()) == list(large.queries())
    assert {query.id for query in small.queries()} == {f"{id}.__doc__" for id in few}
    assert len({small.fingerprint, large.fingerprint}) == 2
