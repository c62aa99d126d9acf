"""Definitions: strict, frozen, digested, with errors that name file, key and remedy."""

from pathlib import Path

import pydantic
import pytest

from rankstone.errors import DefinitionError, did_you_mean
from rankstone.runners.method_files import load_method
from rankstone.specs import (
    MethodSpec,
    ModelSpec,
    TaskSpec,
    canonical_digest,
    load_family,
)
from rankstone.workspace import Workspace

METHOD = 'description = "d"\nadapter = "m:C"\n'
TASK = '[tasks.t]\ndescription = "d"\nloader = "m:f"\n'


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "runners" / "fam").mkdir(parents=True)
    (tmp_path / "benchmarks" / "b.toml").write_text(TASK)
    (tmp_path / "runners" / "fam" / "m.toml").write_text(METHOD)
    return Workspace.find(tmp_path)


def method_error(place: Workspace, text: str) -> str:
    path = place.runners / "fam" / "m.toml"
    path.write_text(text)
    with pytest.raises(DefinitionError) as caught:
        place.method("m")
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_method_is_named_by_its_path(place: Workspace) -> None:
    assert place.method("m") == place.method("fam/m")
    assert place.method("m").name == "fam/m"


def test_an_unknown_key_is_named_with_its_neighbour(place: Workspace) -> None:
    message = method_error(place, METHOD + "paramters = {}\n")
    assert "unknown key 'paramters'. Did you mean: parameters" in message


def test_an_unknown_nested_key_is_named_in_full(place: Workspace) -> None:
    message = method_error(place, METHOD + '[model]\nid = "x"\nrevison = "y"\n')
    assert "unknown key 'model.revison'. Did you mean: revision?" in message


def test_a_wrong_type_is_named_with_what_was_found(place: Workspace) -> None:
    assert "key 'description'" in method_error(place, 'description = 3\nadapter = "m:C"\n')
    assert "found 3" in method_error(place, 'description = 3\nadapter = "m:C"\n')


def test_a_missing_key_is_named(place: Workspace) -> None:
    assert "missing key 'adapter'" in method_error(place, 'description = "d"\n')


def test_all_faults_are_reported_at_once(place: Workspace) -> None:
    message = method_error(place, "description = 3\nextra = 1\n")
    assert all(part in message for part in ("'description'", "'adapter'", "'extra'"))


def test_a_byte_order_mark_before_a_definition_is_ignored(place: Workspace) -> None:
    path = place.root / "runners" / "fam" / "m.toml"
    before = place.method("m")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert Workspace.find(place.root).method("m") == before


def test_broken_toml_is_named(place: Workspace) -> None:
    assert "not valid TOML" in method_error(place, "description = ")


def test_an_adapter_must_be_a_name(place: Workspace) -> None:
    assert "key 'adapter'" in method_error(place, 'description = "d"\nadapter = "no sense"\n')


def test_an_unknown_name_offers_neighbours_and_the_list(place: Workspace) -> None:
    with pytest.raises(DefinitionError, match=r"Did you mean: fam/m\? \(rankstone list runners\)"):
        place.method("fam/mm")
    with pytest.raises(DefinitionError, match="rankstone list benchmarks"):
        place.task("zzz")


def test_an_ambiguous_name_is_refused(place: Workspace) -> None:
    (place.runners / "other").mkdir()
    (place.runners / "other" / "m.toml").write_text(METHOD)
    with pytest.raises(DefinitionError, match="ambiguous: fam/m, other/m"):
        place.method("m")


def test_members_are_resolved_and_count_in_the_digest(place: Workspace) -> None:
    (place.runners / "fam" / "pair.toml").write_text(METHOD + 'members = ["m"]\n')
    before = place.method("pair")
    assert [member.name for member in before.members] == ["fam/m"]
    (place.runners / "fam" / "m.toml").write_text(METHOD + "[parameters]\nx = 1\n")
    assert place.method("pair").digest() != before.digest()


def test_a_method_cannot_contain_itself(place: Workspace) -> None:
    assert "contains itself" in method_error(place, METHOD + 'members = ["fam/m"]\n')


def test_an_unknown_member_is_named_with_the_file(place: Workspace) -> None:
    assert "key 'members'" in method_error(place, METHOD + 'members = ["nobody"]\n')


def test_the_description_is_not_in_the_digest(place: Workspace) -> None:
    before = place.method("m").digest()
    (place.runners / "fam" / "m.toml").write_text('description = "other"\nadapter = "m:C"\n')
    assert place.method("m").digest() == before


def test_defaults_are_shared_and_a_task_wins(place: Workspace) -> None:
    path = place.benchmarks / "b.toml"
    path.write_text("[defaults]\ndepth = 7\nrelevance = 2\n" + TASK + "depth = 9\n")
    task = load_family(path).tasks["b/t"]
    assert (task.depth, task.relevance, task.dataset) == (9, 2, "b/t")


def test_a_fault_in_a_task_names_the_table(place: Workspace) -> None:
    path = place.benchmarks / "b.toml"
    path.write_text(TASK + "dept = 9\n")
    with pytest.raises(DefinitionError, match=r"unknown key 'tasks.t.dept'. Did you mean: depth\?"):
        load_family(path)


def test_a_limited_task_is_another_task(place: Workspace) -> None:
    task = place.task("t")
    limited = task.limited(queries=5, depth=20)
    assert limited.name == "b/t@first5@k20"
    assert limited.digest() != task.digest()
    assert task.limited(depth=task.depth) == task


def test_a_second_limit_cannot_take_more_queries_than_the_first(place: Workspace) -> None:
    """The first 100 of the first 10 queries are these 10."""
    few = place.task("b/t@first10")
    assert few.limited(queries=100) == few.limited(queries=10) == place.task("b/t@first10")
    assert place.task("b/t@first10@first5").limit_queries == 5


def test_folds_are_of_the_whole_split(place: Workspace) -> None:
    with pytest.raises(DefinitionError, match=r"Write b/t@fold1of5@first10\."):
        place.task("b/t@first10@fold1of5")
    assert place.task("b/t@fold1of5@first10").limit_queries == 10
    limited = place.task("t").model_copy(update={"limit_queries": 10})
    with pytest.raises(DefinitionError, match=r"round\. Remove its key limit_queries\.$"):
        limited.folded(1, 5)


def test_a_headline_must_be_measured(place: Workspace) -> None:
    path = place.benchmarks / "b.toml"
    path.write_text(TASK + 'headline = "MAP@10"\n')
    with pytest.raises(DefinitionError, match="'MAP@10' is not among the measures"):
        load_family(path)


def test_a_shallow_task_leaves_deeper_measures_out(place: Workspace) -> None:
    shallow = place.task("t").limited(depth=5)
    assert shallow.measures == ("AP", "Success@5")
    assert shallow.headline == "AP"


def test_a_cutoff_counts_however_it_is_written() -> None:
    task = TaskSpec(
        name="b/t", description="", loader="beir", dataset="b/t", headline="AP",
        measures=("AP", "P(cutoff=20)", "RR(rel=2)@20", "P@3", "IPrec@0.1"),
    )  # fmt: skip
    assert task.limited(depth=10).measures == ("AP", "P@3", "IPrec@0.1")


def test_specs_are_frozen(place: Workspace) -> None:
    with pytest.raises(pydantic.ValidationError):
        place.method("m").name = "other"  # type: ignore[misc]


def test_the_packaged_definitions_are_found_elsewhere(tmp_path: Path) -> None:
    place = Workspace.find(start=tmp_path)
    assert "lexical/bm25" in place.method_names()
    assert "stdlib/functions" in place.tasks


def test_every_packaged_definition_is_valid() -> None:
    place = Workspace.find()
    assert all(isinstance(place.method(name), MethodSpec) for name in place.method_names())
    assert all(isinstance(task, TaskSpec) for task in place.tasks.values())


def test_a_workspace_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="rankstone init"):
        Workspace.find(tmp_path / "none")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="no such file"):
        load_method("fam/none", tmp_path)


def test_did_you_mean_knows_last_parts() -> None:
    assert did_you_mean("bm52", ["lexical/bm25", "dense/x"]) == " Did you mean: lexical/bm25?"
    assert did_you_mean("qqqq", ["lexical/bm25"]) == ""


def test_a_task_has_second_names(place: Workspace) -> None:
    path = place.benchmarks / "b.toml"
    path.write_text('[aliases]\n"u/small" = "b/t"\n' + TASK)
    assert place.task("b/u/small") == place.task("u/small") == place.task("small")
    assert place.task("small").name == "b/t"


@pytest.mark.parametrize(
    ("aliases", "message"),
    [
        ('u = "b/x"', "the alias 'b/u': 'b/x' is not defined"),
        ('t = "b/t"', "the alias 'b/t': names a task"),
        ("u = 3", "key 'aliases.u': expected the full name of a task, found 3"),
    ],
)
def test_faults_of_second_names_are_named(place: Workspace, aliases: str, message: str) -> None:
    (place.benchmarks / "b.toml").write_text(f"[aliases]\n{aliases}\n{TASK}")
    with pytest.raises(DefinitionError, match=message):
        place.task("u")


def test_names_of_tasks_may_have_more_parts(place: Workspace) -> None:
    (place.benchmarks / "b.toml").write_text(TASK.replace("tasks.t", 'tasks."forum/t"'))
    assert place.task("b/forum/t").dataset == "b/forum/t"
    assert place.task("forum/t") == place.task("t") == place.task("b/forum/t")
    with pytest.raises(DefinitionError, match="not defined"):
        place.task("um/t")
    (place.benchmarks / "b.toml").write_text(TASK.replace("tasks.t", 'tasks."forum//t"'))
    with pytest.raises(DefinitionError, match="a part of the name is empty"):
        Workspace.find(place.root).task("t")


def test_documentation_and_what_is_not_used_leave_a_digest_alone():
    plain = MethodSpec(name="dense/a", description="", adapter="m:C", model=ModelSpec(id="x"))
    told = plain.model_copy(update={
        "description": "d", "citation": "c", "licence": "MIT", "published": "p",
        "weights": "unavailable", "model": ModelSpec(id="x", obtain="so"),
    })  # fmt: skip
    assert told.digest() == plain.digest()
    body = {
        "name": "dense/a", "adapter": "m:C", "parameters": {}, "members": [],
        "model": {"id": "x", "revision": None, "path": None, "package": None, "sha256": {}},
    }  # fmt: skip
    assert plain.digest() == canonical_digest(body), "as it was before there were such keys"
    composite = MethodSpec(name="hybrid/a", description="", adapter="m:C", members=(plain,))
    assert composite.digest() == composite.model_copy(update={"members": (told,)}).digest()


@pytest.mark.parametrize(
    "change",
    [
        {"text": "{text}"},
        {"query_model": ModelSpec(id="y")},
        {"model": ModelSpec(id="x", folder="f")},
    ],
)
def test_everything_that_can_change_a_number_changes_the_digest(change):
    plain = MethodSpec(name="dense/a", description="", adapter="m:C", model=ModelSpec(id="x"))
    assert plain.model_copy(update=change).digest() != plain.digest()


def test_local_weights_are_named_by_a_folder(tmp_path):
    towers = {"model": ModelSpec(id="x", folder="a"), "query_model": ModelSpec(id="x", folder="b")}
    method = MethodSpec(name="dense/a", description="", adapter="m:C", **towers)
    moved = method.at(tmp_path)
    assert {moved.model.path, moved.query_model.path} == {str(tmp_path)}
    for other, fault in (
        (method.model_copy(update={"model": None, "query_model": None}), "no model of its own"),
        (method.model_copy(update={"query_model": ModelSpec(id="y", folder="a")}), "two models"),
    ):
        with pytest.raises(DefinitionError, match=f"has {fault}.*instead of --model-path"):
            other.at(tmp_path)
