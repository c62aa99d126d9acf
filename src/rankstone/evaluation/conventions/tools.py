"""Rules of evaluation tools, read from their source code."""

from __future__ import annotations

from dataclasses import replace

from rankstone.evaluation.conventions.rules import CAPPED, EVERY_LABEL, Form, Rules, Tool

# Its README documents -c (missing queries), -l (relevance) and -M (cutoff of recip_rank); the order
# is in form_res_rels.c. Version 10 stores scores as double.
_TREC = Rules(missing_queries="skip")
TREC_EVAL = Tool(
    name="trec_eval",
    source="trec_eval 9.0.8 without options (trec_eval.c, form_res_rels.c)",
    digits=4,
    thresholds=True,
    forms={
        "nDCG": Form(name="ndcg_cut_{k}", uncut="ndcg", rules=_TREC),
        "AP": Form(name="map_cut_{k}", uncut="map", rules=_TREC),
        "RR": Form(name="recip_rank -M {k}", uncut="recip_rank", rules=_TREC),
        "R": Form(name="recall_{k}", rules=_TREC),
        "P": Form(name="P_{k}", rules=_TREC),
        "Success": Form(name="success_{k}", rules=_TREC),
    },
)

# Reads ranks and no scores; every line of the reference is relevant, whatever its label.
MSMARCO = Tool(
    name="msmarco",
    source="ms_marco_eval.py of microsoft/MSMARCO-Passage-Ranking and, for MRR @100, of"
    " MSMARCO-Document-Ranking (compute_metrics)",
    always=("RR@10",),
    note="its references list relevant passages only: a line with label 0 would count as relevant;"
    " if passage 0 is relevant, empty ranks of a list of fewer than ten results count as it",
    forms={
        "RR": Form(
            name="MRR @{k}",
            cutoffs=frozenset({10, 100}),
            rules=Rules(order="file order", relevance=EVERY_LABEL),
        ),
    },
)

# Half is computed by pytrec_eval, over the queries found; half in Python, over all queries.
_BEIR = Rules(missing_queries="skip", self_hits="drop")
_BEIR_OWN = Rules(self_hits="drop", order="score, file order", score_dtype="float64")
BEIR = Tool(
    name="beir",
    source="beir 2.2.0, EvaluateRetrieval (retrieval/evaluation.py, custom_metrics.py)",
    digits=5,
    forms={
        "nDCG": Form(name="NDCG@{k}", rules=_BEIR),
        "AP": Form(name="MAP@{k}", rules=_BEIR),
        "R": Form(name="Recall@{k}", rules=_BEIR),
        "P": Form(name="P@{k}", rules=_BEIR),
        "RR": Form(name="MRR@{k}", rules=_BEIR_OWN),
        "R_cap": Form(name="R_cap@{k}", rules=_BEIR_OWN),
        "Success": Form(name="Accuracy@{k}", rules=_BEIR_OWN),
        "Judged": Form(name="1 - Hole@{k}", rules=replace(_BEIR_OWN, judged="for any query")),
    },
)

# `ignore_identical_ids` is set per task; earlier releases left MRR's ties in file order.
_MTEB = Rules(missing_queries="skip")
MTEB = Tool(
    name="mteb",
    source="mteb 2.26.24 (_evaluators/retrieval_metrics.py, ignore_identical_ids of its tasks)",
    digits=5,
    note="mrr_at_k is not rounded; all are to six decimals in the files that it writes",
    drops_self_on=frozenset(
        {"arguana", "fever", "fever-hard-negatives", "fiqa", "msmarco", "quora"}
    ),
    keeps_self_in=frozenset({"nano-beir"}),
    forms={
        "nDCG": Form(name="ndcg_at_{k}", rules=_MTEB),
        "AP": Form(name="map_at_{k}", rules=_MTEB),
        "R": Form(name="recall_at_{k}", rules=_MTEB),
        "P": Form(name="precision_at_{k}", rules=_MTEB),
        "Success": Form(name="hit_rate_at_{k}", rules=_MTEB),
        "RR": Form(name="mrr_at_{k}", rules=replace(_MTEB, score_dtype="float64"), rounded=False),
    },
)

# Missing queries score 0; RR with a cutoff uses a provider that breaks ties by id.
_ASCENDING = Rules(order="score, document id ascending", score_dtype="float64")
IR_MEASURES = Tool(
    name="ir_measures",
    source="ir_measures 0.4.3, calc_aggregate with its default providers",
    thresholds=True,
    forms={
        "nDCG": Form(name="nDCG@{k}", uncut="nDCG", rules=Rules()),
        "AP": Form(name="AP@{k}", uncut="AP", rules=Rules()),
        "RR": Form(name="RR@{k}", uncut="RR", rules=_ASCENDING, uncut_rules=Rules()),
        "R": Form(name="R@{k}", rules=Rules()),
        "P": Form(name="P@{k}", rules=Rules()),
        "Success": Form(name="Success@{k}", rules=Rules()),
    },
)

# Relevance is a set, so labels are 0 or 1; a query without relevant documents is ignored.
_SENTENCE = replace(_ASCENDING, gain="1 if relevant", without_relevant="skip")
SENTENCE_TRANSFORMERS = Tool(
    name="sentence_transformers",
    source="sentence-transformers 6.2.0, InformationRetrievalEvaluator.compute_metrics",
    thresholds=True,
    forms={
        "nDCG": Form(name="ndcg@{k}", rules=_SENTENCE),
        "AP": Form(name="map@{k}", rules=replace(_SENTENCE, normaliser=CAPPED)),
        "RR": Form(name="mrr@{k}", rules=_SENTENCE),
        "R": Form(name="recall@{k}", rules=_SENTENCE),
        "P": Form(name="precision@{k}", rules=_SENTENCE),
        "Success": Form(name="accuracy@{k}", rules=_SENTENCE),
    },
)

TOOLS = {
    tool.name: tool for tool in (TREC_EVAL, IR_MEASURES, MSMARCO, BEIR, MTEB, SENTENCE_TRANSFORMERS)
}
