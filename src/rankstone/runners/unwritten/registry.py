"""Parameters of models in MTEB's registry: prompts, instructions, tokens after texts."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from rankstone.errors import DefinitionError
from rankstone.results.mteb_tasks import PARTS
from rankstone.specs import DEFAULT, EVERY, INSTRUCTION, Instruction

RETRIEVAL = "Retrieve text based on user query."
"""MTEB's default instruction for retrieval tasks."""
AS_IT_IS = "InstructSentenceTransformerModel"
"""The loader that prepends an instruction unchanged if there is no template."""


class Registered(NamedTuple):
    """Parameters of the adapter, and the instructions inserted into prompts."""

    parameters: dict[str, Any]
    instructions: dict[str, Instruction]


def registered(name: str, meta: Any) -> Registered:
    """Return the parameters and instructions of the registry's entry `meta`.

    Raises DefinitionError if it states instructions in an unsupported way.
    """
    stated = getattr(meta, "loader_kwargs", None) or {}
    template = _template(meta, stated)
    if template is None:
        own = stated.get("model_prompts")
        return Registered({"prompts": _prompts(own)} if own else {}, {})
    own = stated.get("prompts_dict") or {}
    passages = own and stated.get("apply_instruction_to_passages", True)
    if passages or stated.get("prompt_priority"):
        key = "prompts_dict, also of passages" if passages else "prompt_priority"
        raise DefinitionError(
            f"'{name}': MTEB's registry states instructions by {key}, which is not followed here."
            " Write a definition that states them in [instructions], or run"
            f" hf:{meta.name} with --set prompts.query=... --set instruction=..."
        )
    parameters = {"prompts": _templated(template, stated), **_ends(stated)}
    return Registered(parameters, {DEFAULT: RETRIEVAL, **_instructions(own)})


def _instructions(own: dict[str, Any]) -> dict[str, Instruction]:
    """Return the model's own query instructions: for single tasks, and for all retrieval, which
    take precedence over those of tasks."""
    words = {key: one.get("query") if isinstance(one, dict) else one for key, one in own.items()}
    found = {task: words.get(part.task) for task, part in PARTS.items()}
    found[EVERY] = words.get("Retrieval") or words.get("query")
    return {task: one for task, one in found.items() if one}


def _template(meta: Any, stated: dict[str, Any]) -> Any:
    """Return the template, a text or a function, of an instruction; None without one."""
    if not getattr(meta, "use_instructions", False):
        return None
    loader = getattr(meta, "loader", None)
    if getattr(loader, "__name__", "") == AS_IT_IS:
        return stated.get("instruction_template") or INSTRUCTION
    beside = sys.modules.get(getattr(loader, "__module__", ""))
    return stated.get("instruction_template") or getattr(beside, "instruction_template", None)


def _templated(template: Any, stated: dict[str, Any]) -> dict[str, str]:
    """Return prompts; MTEB's tasks have instructions for queries, not for documents."""
    if isinstance(template, str):
        return {"query": template, "document": ""}
    from mteb.types import PromptType  # type: ignore[import-not-found,unused-ignore]

    plain = stated.get("apply_instruction_to_passages", True)
    return {
        "query": template(INSTRUCTION, PromptType.query),
        "document": template("", PromptType.document) if plain else "",
    }


def _prompts(own: dict[str, str]) -> dict[str, str]:
    """Return the prompts for retrieval, which replace the model's own."""
    query = own.get("Retrieval-query") or own.get("query")
    document = own.get("Retrieval-document") or own.get("document") or own.get("passage")
    return {"query": query or "", "document": document or ""}


def _ends(stated: dict[str, Any]) -> dict[str, Any]:
    """Return the loader's changes to pooling, length, and the tokens after a text."""
    found: dict[str, Any] = {}
    if stated.get("include_prompt") is False:
        found["prompt_pooled"] = False
    if stated.get("add_eos_token"):
        found["tokens_after"] = ["eos_token"]
    if stated.get("max_seq_length"):
        found["max_length"] = stated["max_seq_length"]
    return found
