"""MTEB's names of tasks, with split and subset."""

from __future__ import annotations

from typing import NamedTuple

MEASURES = {
    "nDCG": "ndcg", "AP": "map", "R": "recall", "P": "precision", "RR": "mrr",
    "Success": "hit_rate",
}  # fmt: skip
"""MTEB's names, with cutoffs `_at_k`, of measures with cutoffs `@k`."""
BEIR = {
    "trec-covid": "TRECCOVID", "nfcorpus": "NFCorpus", "nq": "NQ", "hotpotqa": "HotpotQA",
    "fiqa": "FiQA2018", "arguana": "ArguAna", "webis-touche2020": "Touche2020",
    "quora": "QuoraRetrieval", "dbpedia-entity": "DBPedia", "scidocs": "SCIDOCS", "fever": "FEVER",
    "climate-fever": "ClimateFEVER", "scifact": "SciFact", "msmarco": "MSMARCO",
}  # fmt: skip
FORUMS = ("android", "english", "gaming", "gis", "mathematica", "physics", "programmers", "stats",
          "tex", "unix", "webmasters", "wordpress")  # fmt: skip
NANO = {
    **{name: BEIR[name] for name in ("fiqa", "hotpotqa", "nfcorpus", "nq", "scidocs", "scifact")},
    "arguana": "ArguAna", "climate-fever": "ClimateFever", "dbpedia-entity": "DBPedia",
    "fever": "FEVER", "msmarco": "MSMARCO", "quora": "Quora", "webis-touche2020": "Touche2020",
}  # fmt: skip
ENGLISH = {
    "climate-fever-hard-negatives": "ClimateFEVERHardNegatives", "fiqa": "FiQA2018",
    "fever-hard-negatives": "FEVERHardNegatives", "touche2020-v3": "Touche2020Retrieval.v3",
    "hotpotqa-hard-negatives": "HotpotQAHardNegatives",
}  # fmt: skip
CODE = {
    "apps": "AppsRetrieval", "codefeedback-mt": "CodeFeedbackMT", "text2sql": "SyntheticText2SQL",
    "codefeedback-st": "CodeFeedbackST", "codetrans-contest": "CodeTransOceanContest",
    "codetrans-dl": "CodeTransOceanDL", "cosqa": "CosQA", "stackoverflow-qa": "StackOverflowQA",
}  # fmt: skip
CODE_SEARCH = {
    "codesearchnet": "COIRCodeSearchNetRetrieval", "codesearchnet-ccr": "CodeSearchNetCCRetrieval",
}  # fmt: skip
PROGRAMMING = ("go", "java", "javascript", "php", "python", "ruby")
LONG = {"narrativeqa": "NarrativeQA", "qmsum": "QMSum", "2wikimqa": "WikimQA"}


class Part(NamedTuple):
    """A task in MTEB, or a part of one."""

    task: str
    split: str = ""
    """Empty if the same as here."""
    subset: str = "default"


PARTS = {
    **{f"mteb/{ours}": Part(theirs) for ours, theirs in ENGLISH.items()},
    **{f"beir/{ours}": Part(theirs) for ours, theirs in BEIR.items()},
    **{f"beir/cqadupstack/{f}": Part(f"CQADupstack{f.capitalize()}Retrieval") for f in FORUMS},
    **{f"nano-beir/{o}": Part(f"Nano{theirs}Retrieval", "train") for o, theirs in NANO.items()},
    **{f"code/coir-{ours}": Part(theirs) for ours, theirs in CODE.items()},
    **{
        f"code/coir-{ours}/{language}": Part(theirs, subset=language)
        for ours, theirs in CODE_SEARCH.items()
        for language in PROGRAMMING
    },
    **{f"longembed/{o}": Part(f"LEMB{theirs}Retrieval", "test") for o, theirs in LONG.items()},
    "longembed/summ_screen_fd": Part("LEMBSummScreenFDRetrieval", "validation"),
    **{
        f"longembed/{kind}/{2**length}": Part(f"LEMB{kind.title()}Retrieval", f"test_{2**length}")
        for kind in ("needle", "passkey")
        for length in range(8, 16)
    },
}
"""MTEB's name of each task."""
TASKS = {part.task: name for name, part in PARTS.items()}
"""Task of each MTEB name; the last one for a name with several parts."""
