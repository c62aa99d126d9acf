"""Measure names: parsing, and printing as parsed."""

from __future__ import annotations

import shutil

import pytest

from rankstone.errors import MeasureError
from rankstone.evaluation.measure_names import Measure, parse
from rankstone.evaluation.via_ir_measures import LongTail
from rankstone.specs import DEFAULT_MEASURES


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("nDCG@10", Measure(kind="nDCG", cutoff=10)),
        ("nDCG", Measure(kind="nDCG")),
        ("NDCG@3", Measure(kind="nDCG", cutoff=3)),
        ("nDCG(dcg='log2')@10", Measure(kind="nDCG", cutoff=10)),
        ("nDCG(dcg='exp-log2')@10", Measure(kind="nDCG_exp", cutoff=10)),
        ("nDCG_exp@10", Measure(kind="nDCG_exp", cutoff=10)),
        ("RR(rel=2)@10", Measure(kind="RR", cutoff=10, rel=2)),
        ("RR(cutoff=10)", Measure(kind="RR", cutoff=10)),
        ("MRR@10", Measure(kind="RR", cutoff=10)),
        ("AP(rel=2)", Measure(kind="AP", rel=2)),
        ("MAP@100", Measure(kind="AP", cutoff=100)),
        ("R_cap@100", Measure(kind="R_cap", cutoff=100)),
        ("Judged@10", Measure(kind="Judged", cutoff=10)),
    ],
)
def test_a_core_name_is_parsed_and_printed(name, measure):
    assert parse(name) == measure
    assert parse(str(measure)) == measure
    assert hash(parse(name)) == hash(measure)


def test_every_default_measure_is_in_the_core():
    assert all(isinstance(parse(name), Measure) for name in DEFAULT_MEASURES)


@pytest.mark.parametrize(
    ("name", "printed", "cutoff"),
    [
        ("Rprec", "Rprec", None),
        ("IPrec@0.5", "IPrec(recall=0.5)", None),
        ("ERR@20", "ERR(cutoff=20)", 20),
        ("nDCG(judged_only=True)@10", "nDCG(cutoff=10, judged_only=True)", 10),
        ("nDCG(gains={0:0, 1:3})@5", "nDCG(cutoff=5, gains={0: 0, 1: 3})", 5),
    ],
)
def test_a_name_of_ir_measures_is_parsed_and_printed(name, printed, cutoff):
    if name.startswith("ERR") and shutil.which("perl") is None:
        pytest.skip("ir_measures computes ERR with perl, which is not installed")
    measure = parse(name)
    assert isinstance(measure, LongTail)
    assert (str(measure), measure.cutoff) == (printed, cutoff)
    assert parse(printed) == measure


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nDGC@10", r"'nDGC@10' is not known. Did you mean: nDCG"),
        ("Recal@10", "Did you mean: Recall"),
        ("zzz", "'zzz' is not known. Names are"),
        ("nDCG@", "not the name of a measure"),
        ("", "not the name of a measure"),
        ("nDCG(10)", "not the name of a measure"),
        ("nDCG@10@5", "not the name of a measure"),
        ("nDCG(x=open('f'))@10", "not the name of a measure"),
        ("R", "needs a cutoff, e.g. R@10"),
        ("Success", "needs a cutoff"),
        ("nDCG@0", "whole number from 1"),
        ("nDCG@-5", "whole number from 1"),
        ("RR@1.5", "whole number from 1"),
        ("P@True", "whole number from 1"),
        ("nDCG(rel=2)@10", "nDCG has no parameter 'rel'"),
        ("AP(rel='2')", "rel must be a whole number"),
        ("AP(relevance=2)", "unsupported params found"),
        ("Rprec(rel='2')", "invalid param rel"),
    ],
)
def test_the_error_for_a_wrong_name_states_the_cause(name, message):
    with pytest.raises(MeasureError, match=message):
        parse(name)
