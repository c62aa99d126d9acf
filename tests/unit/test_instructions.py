"""Instructions per task: sources, precedence, and resulting prompts."""

from __future__ import annotations

from pathlib import Path

import pytest

from rankstone.errors import DefinitionError
from rankstone.specs import MethodSpec
from rankstone.workspace import Changes, Workspace

PACKAGED = Workspace.find(Path(__file__).resolve().parents[2])
TASKS = """
description = "Tasks."
[defaults]
description = "A task."
loader = "plain"
[tasks.a]
[tasks.b]
instruction = "the task's own words"
[tasks.c]
instruction = "more words of a task"
"""
SUITES = """
description = "Suites."
[suites.some]
description = "Two tasks."
members = ["tasks/a", "tasks/b"]
"""
METHOD = """
description = "A model that takes an instruction."
adapter = "dense"
[model]
id = "org/name"
[parameters]
prompts = { query = "Instruct: {instruction}\\nQuery: ", document = "{instruction}|" }
"""
RERANKER = """
description = "A reranker that takes an instruction, behind a model that does."
adapter = "two_stage"
members = ["dense/x"]
[scorer]
adapter = "cross_encoder"
parameters = { prompts = { query = "<Instruct>: {instruction}" } }
[instructions]
default = "rerank"
"""


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    for name, text in {
        "benchmarks/tasks.toml": TASKS,
        "benchmarks/suites.toml": SUITES,
        "runners/dense/x.toml": f'{METHOD}[instructions]\ndefault = "usual words"\n',
        "runners/rerank/y.toml": RERANKER,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return Workspace(root=tmp_path)


def stated(place: Workspace, table: str) -> MethodSpec:
    (place.runners / "dense/x.toml").write_text(f"{METHOD}[instructions]\n{table}\n")
    return place.method("dense/x")


def words(place: Workspace, method: MethodSpec, role: str = "query") -> dict[str, str]:
    """Return the prompt of a role on each task, and on an undefined one."""
    found = {}
    for name in ("a", "b", "c", "other"):
        task = place.tasks.get(f"tasks/{name}")
        spec = method.on_task(f"tasks/{name}", task.instruction if task else "")
        prompt = spec.parameters["prompts"][role]
        found[name] = prompt.removeprefix("Instruct: ").split("\n")[0].removesuffix("|")
        assert spec.instructions == {}
    return found


def test_the_tasks_own_words_precede_the_methods_default(place: Workspace) -> None:
    found = words(place, place.method("dense/x"))
    assert (found["a"], found["other"]) == ("usual words", "usual words")
    assert (found["b"], found["c"]) == ("the task's own words", "more words of a task")


def test_the_methods_words_for_a_task_precede_those_for_a_suite_and_the_tasks(
    place: Workspace,
) -> None:
    method = stated(place, '"tasks/b" = "exactly"\nsome = "of two"\ndefault = "usual"')
    assert words(place, method) == {
        "a": "of two", "b": "exactly", "c": "more words of a task", "other": "usual",
    }  # fmt: skip
    family = stated(place, '"tasks/*" = "of all"\ndefault = "usual"')
    assert words(place, family) == {"a": "of all", "b": "of all", "c": "of all", "other": "usual"}
    unknown = r"key 'instructions\.sme': no task, suite or FAMILY/\*\. Did you mean: some"
    with pytest.raises(DefinitionError, match=unknown):
        stated(place, 'sme = "of two"')


def test_words_may_be_given_by_role(place: Workspace) -> None:
    method = stated(place, 'default = { query = "ask", document = "tell" }')
    assert words(place, method)["a"] == "ask"
    assert words(place, method, "document")["a"] == "tell"
    assert words(place, method, "document")["b"] == "the task's own words"


def test_prompts_without_words_are_refused(place: Workspace) -> None:
    method = stated(place, '"tasks/a" = "for a"')
    assert method.on_task("tasks/a").parameters["prompts"]["document"] == "for a|"
    fault = r"x\.toml: the prompts hold \{instruction\}.*key 'default', or --set instruction=WORDS"
    with pytest.raises(DefinitionError, match=fault):
        method.on_task("tasks/other")


def test_words_by_hand_hold_on_every_task_and_are_in_the_name(place: Workspace) -> None:
    changes = Changes(settings=("instruction=find it",))
    [method] = place.methods("dense/x", changes=changes)
    assert method.name.startswith("dense/x+parameters-")
    assert set(words(place, method).values()) == {"find it"}


def test_a_scorer_takes_the_words_too(place: Workspace) -> None:
    method = place.method("rerank/y")
    on = {task: method.on_task(f"tasks/{task}", place.tasks[f"tasks/{task}"].instruction)
          for task in "ab"}  # fmt: skip
    asked = {t: m.scorer.parameters["prompts"]["query"] for t, m in on.items() if m.scorer}
    assert asked == {"a": "<Instruct>: rerank", "b": "<Instruct>: the task's own words"}
    assert on["a"].members[0].parameters["prompts"]["document"] == "usual words|"
    assert method.varies


def test_they_are_part_of_the_method_and_not_of_the_task(place: Workspace) -> None:
    method, task = place.method("dense/x"), place.tasks["tasks/b"]
    plain = task.model_copy(update={"instruction": ""})
    assert task.digest() == plain.digest()
    digests = {words: method.on_task("tasks/b", words).digest() for words in ("", "x", "y")}
    assert len(set(digests.values())) == 3
    without = method.model_copy(update={"instructions": {}, "parameters": {}})
    assert not without.varies


@pytest.mark.parametrize(
    ("task", "words"),
    {
        "beir/arguana": "Given a claim, find documents that refute the claim",
        "beir/nfcorpus": "Given a question, retrieve relevant documents that best answer the"
        " question",
        "beir/scidocs": "Given a scientific paper title, retrieve paper abstracts that are cited by"
        " the given paper",
        "beir/cqadupstack/tex": "Retrieve text based on user query.",
        "msmarco/dev": "Given a web search query, retrieve relevant passages that answer the query",
        "nq/gold": "Given a question, retrieve Wikipedia passages that answer the question",
    }.items(),
)
def test_tasks_state_mtebs_instructions(task: str, words: str) -> None:
    assert PACKAGED.task(task).instruction == words
