"""The page of published systems: current, and about all claims and all of its definitions."""

from __future__ import annotations

from docs.systems import CLAIMS, METHODS, SYSTEMS, TARGET, methods_of, state, text


def test_the_page_is_current() -> None:
    assert TARGET.read_text(encoding="utf-8") == text(), "python docs/systems.py writes it"


def test_every_claim_belongs_to_one_system() -> None:
    named = [name for system in SYSTEMS for name in system["claims"]]
    assert sorted(named) == sorted(CLAIMS)


def test_patterns_name_definitions_and_methods_without_weights_are_listed() -> None:
    for system in SYSTEMS:
        for pattern in system["definitions"]:
            assert methods_of({"definitions": [pattern]}), (system["name"], pattern)
    listed = {method.name for system in SYSTEMS for method in methods_of(system)}
    assert {name for name, method in METHODS.items() if method.weights == "unavailable"} <= listed
    found = {"definitions": ["lexical/bm25", "dense/gear"], "missing": "the rest"}
    assert state(found) == (
        "1 runs; 1 runs with your own weights: none were released; missing: the rest"
    )
