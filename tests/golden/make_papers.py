"""Makes `leaderboards/papers/*.toml` of a table of published values.

    python tests/golden/make_papers.py FACTS.csv

FACTS.csv is that of `make_published.py`. `TABLES` says which rows are which table, how far from
each value is still the same result, and what is to be known about it: that is where a table is
curated. Every effectiveness value on MS MARCO, BEIR, NQ, LoCo and CodeSearchNet has to be in a
table; the script stops at one that is in none or in two.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from make_published import dataset_of, measure_of, methods_of, owners, task_of

from rankstone.workspace import Workspace

OURS = re.compile(
    r"MS MARCO|TREC DL|BEIR|NQ|LoCo|CodeSearchNet|CosQA|CodeNet|AdvTest|POJ-104|BigCloneBench"
)
"""Data sets whose values are to be in a table."""
COSTS = re.compile(
    r"latency|seconds|docs/sec|FLOPS|compression|QPS|embeddings after|ratio|speed-up|std of|"
    r"speedup|gain|reduction|saving"
)
"""Not effectiveness, or no value of its own."""
ENGINE = "{0} of rounding, .002 for another engine: kernels, precision, batches, where texts are cut"
TOLERANCES = {
    "exact": (0.00005, 4, ".00005 of rounding: one run file and one set of judgements leave nothing else to differ."),
    "lucene": (0.00055, 4, ".00005 of rounding, .0005 for ties and another version of Lucene."),
    "four": (0.00205, 4, ENGINE.format(".00005") + "."),
    "five": (0.002005, 5, ENGINE.format(".000005") + "."),
    "library": (0.002005, 5, ".000005 of rounding, .002 for another version of the library and its tokeniser."),
    "three": (0.0025, 3, ENGINE.format(".0005") + "."),
    "reranked": (0.0035, 3, ".0005 of rounding, .002 for another engine, .001 for another first stage."),
    "data": (0.0055, 3, ".0005 of rounding, .005 because the revision of the data behind the figures is not known."),
    "seeds": (0.0059, 3, ".0005 of rounding, .0054 for the random seed: twice the deviation that the paper gives."),
    "trained": (0.0055, 3, ".0005 of rounding, .005 because the weights have to be trained anew."),
}  # fmt: skip
"""Kind -> tolerance, decimals that the source prints, and of what the tolerance is made."""
SUITES = {
    "BEIR cqadupstack (mean of 12)": "cqadupstack",
    "BEIR AVERAGE (18)": "beir",
    "BEIR average (14, without MS MARCO)": "beir-14",
    "BEIR average (13)": "beir-13",
    "LoCoV1 AVERAGE (12)": "loco-v1",
    "LoCoV0 average": "loco-v0",
}
DOCUMENTS = {"MS MARCO document": "msmarco-doc/dev", "TREC DL 2019 document": "msmarco-doc/trec-dl-2019"}
TITLES = {"MS MARCO passage": "MS MARCO passage with RocketQA's titles, dev (6980)"}
TITLED = "The passages have titles there, which RocketQA added and the original collection lacks."
BM25_NOTE = "Lucene's BM25 alone: Elasticsearch's and bm25s's are other families."
FLAT, FIELDS = "lexical/lucene-bm25-flat", "lexical/lucene-bm25-multifield"
MEMORY = "Written down from memory, most of it of low confidence: a deviation may be the reading's."


@dataclass(frozen=True, kw_only=True)
class Table:
    """Which facts are one published table.

    Attributes:
        match: pattern of "source | system: variant".
        source: how a paper would cite it.
        methods: (pattern of "system: variant", method of ours) for rows that no checkpoint owns.
        datasets: pattern of the data sets, where the table is only of some.
        measures: pattern of the source's measures, likewise.
        tasks: data set -> task, or a name of data that is no task of ours.
        quoted: pattern of "system: variant" of rows that the source took from others: their tasks
            are as everywhere, those of the rest are of `tasks`.
        again: its facts are also another table's.
    """

    name: str
    title: str
    source: str
    match: str
    kind: str
    note: str = ""
    methods: Sequence[tuple[str, str]] = ()
    datasets: str = ""
    measures: str = ""
    tasks: tuple[tuple[str, str], ...] = ()
    quoted: str = "$^"
    again: bool = False

    def takes(self, fact: dict[str, str]) -> bool:
        return (
            re.search(self.match, f"{fact['source']} | {system_of(fact)}") is not None
            and re.match(self.datasets, fact["dataset"]) is not None
            and re.match(self.measures, fact["metric"]) is not None
        )


def mteb(name: str, title: str, folders: str, kind: str = "five", note: str = "", **more: object) -> Table:
    """A model's results in the repository of MTEB."""
    external = "Rows marked external were reported by the model's authors, not run by MTEB."
    return Table(
        name=f"mteb-{name}",
        title=title,
        source="MTEB, embeddings-benchmark/results@f4cc6c8b3",
        match=rf"results/({folders})/",
        kind=kind,
        note=" ".join(filter(None, (note, external))),
        **more,  # type: ignore[arg-type]
    )


PYSERINI, ANSERINI = "pyserini 1.6.0", "castorini/anserini@81e341457"
TOUCHE = (("BEIR webis-touche2020", "beir/webis-touche2020-v1"),)
TABLES = (
    Table(name="pyserini-runs", title="Run files of three systems on TREC DL",
          source=f"{PYSERINI}, 2cr/msmarco-v1-passage.yaml",
          match=r"msmarco-v1-passage.yaml:(bm25-default|splade-pp-ed-pytorch|distilbert-kd-tasb-pytorch) ",
          kind="exact", datasets="TREC DL", measures="nDCG@10", again=True,
          note="The runs themselves, scored with NIST's judgements: make papers. They are 100 deep,"
          " so measures of 1,000 are left out.",
          methods=((r"BM25:", "runs/bm25-anserini"), (r"SPLADE\+\+ ED", "runs/splade-pp-ed"), (r"TAS-B", "runs/tas-b")),
          tasks=(("TREC DL 2019 passage", "msmarco/dl19-judgements"), ("TREC DL 2020 passage", "msmarco/dl20-judgements"))),
    Table(name="pyserini-msmarco-bm25", title="BM25 on MS MARCO passages",
          source=f"{PYSERINI}, 2cr/msmarco-v1-passage.yaml; {ANSERINI}, msmarco-v1-passage.md",
          match=r"msmarco-v1-passage(\.yaml:bm25|\.md)(?!.*docT5query).*\| (BM25|BM25\+(RM3|Rocchio)): ", kind="lucene",
          note=BM25_NOTE + " k1=0.82, b=0.68 is tuned on MS MARCO.",
          methods=((r"BM25: (k1=0.9 b=0.4|BM25 \(default\))$", FLAT), (r"BM25\+RM3: k1=0.9 b=0.4$", "lexical/lucene-rm3"))),
    Table(name="pyserini-msmarco", title="Learned and expanded retrieval on MS MARCO passages",
          source=f"{PYSERINI}, 2cr/msmarco-v1-passage.yaml; {ANSERINI}, msmarco-v1-passage.*.md",
          match=r"msmarco-v1-passage\.(?!yaml:bm25(-\w+)* \| BM25|md \| BM25)", kind="four",
          methods=((r"SPLADE-v3: ", "sparse/splade-v3"), (r"SPLADE\+\+ ED: ", "sparse/splade-pp-ed"),
                   (r"bge-base-en-v1.5: Lucene flat ONNX", "dense/bge-base-en-v1.5")),
          note="HNSW, int8 and feedback variants are other systems than the model's exact search."),
    Table(name="anserini-bm25-flat", title="BM25 on BEIR, title and text in one field", source=f"{PYSERINI}, 2cr/beir.yaml",
          match=r"2cr/beir.yaml:bm25-flat", kind="lucene", methods=((r"BM25: Lucene flat", FLAT),), note=BM25_NOTE),
    Table(name="anserini-bm25-multifield", title="BM25 on BEIR, title and text as two fields", source=f"{PYSERINI}, 2cr/beir.yaml",
          match=r"2cr/beir.yaml:bm25-multifield", kind="lucene", methods=((r"BM25: Lucene multifield", FIELDS),), note=BM25_NOTE),
    Table(name="pyserini-beir-splade-pp-ed", title="SPLADE++ EnsembleDistil on BEIR", source=f"{PYSERINI}, 2cr/beir.yaml",
          match=r"2cr/beir.yaml:splade-pp-ed", kind="four", note="Weights are rounded to integers for Lucene there."),
    Table(name="pyserini-beir-contriever", title="Contriever on BEIR", source=f"{PYSERINI}, 2cr/beir.yaml",
          match=r"2cr/beir.yaml:contriever", kind="four", note="R@100 of TREC-COVID is not capped here; in Contriever's paper it is."),
    Table(name="pyserini-beir-bge", title="bge-base-en-v1.5 on BEIR", source=f"{PYSERINI}, 2cr/beir.yaml",
          match=r"2cr/beir.yaml:bge", kind="four",
          note="The query's instruction ends in its colon there, without the space of the model's card."),
    Table(name="pyserini-beir-cohere", title="Cohere embed-english-v3.0 on BEIR", source=f"{PYSERINI}, 2cr/beir.yaml",
          match=r"2cr/beir.yaml:cohere", kind="four", note="A service: no weights."),
    Table(name="anserini-beir-splade-v3", title="SPLADE-v3 on BEIR", source=f"{ANSERINI}, beir-v1.0.0-*.splade-v3.onnx.md",
          match=r"beir-v1.0.0-.*splade-v3|computed mean of castorini/anserini", kind="four",
          methods=((r"SPLADE-v3: ", "sparse/splade-v3"),), note="Weights are rounded to integers for Lucene there."),
    Table(name="pyserini-nq", title="Natural Questions as in DPR", source=f"{PYSERINI}, 2cr/naturalquestion.yaml",
          match=r"2cr/naturalquestion.yaml", kind="lucene",
          methods=((r"BM25: ", FLAT),),
          note="R@k is answer accuracy. Questions as DPR words them are nq/dpr, as NQ-open does nq/dpr-open; of the"
          " other rows it is not said."),
    Table(name="splade-readme", title="The SPLADE family on MS MARCO", source="naver/splade, README",
          match=r"naver/splade README", kind="three"),
    Table(name="tas-b", title="TAS-Balanced on MS MARCO passages", source="Hofstätter et al., SIGIR 2021, arXiv:2104.06967, Table 6",
          match=r"TAS-B paper arXiv:2104.06967 Table 6", kind="three",
          methods=((r"BM25: ", FLAT),),
          note="Its BM25 is Anserini's with parameters that are not told: pyserini has .5058 on DL 2019 at k1=0.9, b=0.4."),
    Table(name="tas-b-ablation", title="Sampling and teachers of TAS-Balanced", source="Hofstätter et al., SIGIR 2021, arXiv:2104.06967, Table 4",
          match=r"TAS-B paper Table 4", kind="trained"),
    Table(name="contriever-ndcg", title="Contriever on BEIR, nDCG@10", source="Izacard et al., TMLR 2022, arXiv:2112.09118, Table 2",
          match=r"Contriever paper (arXiv:2112.09118 Table 2|Table 2 / README)", kind="three", tasks=TOUCHE,
          quoted=r"(?!Contriever)",
          note="Rows of others are quoted from the BEIR paper and use Touché's second judgements; the paper's own"
          " use the first (.230, where pyserini has .2040 with the second). BM25, and what it hands"
          " to the cross-encoder, is Elasticsearch's."),
    Table(name="contriever-recall", title="Contriever on BEIR, R@100", source="Izacard et al., TMLR 2022, arXiv:2112.09118, Table 10",
          match=r"Contriever paper (Table 10 ;|Table 10/11, README \| (?!Contriever: unsup))", kind="three",
          tasks=(*TOUCHE, ("BEIR average (14, without MS MARCO)", "BEIR average (14), TREC-COVID capped")),
          quoted=r"(?!Contriever)",
          note="R@100 of TREC-COVID is capped, so the mean is none of ours. Touché as in contriever-ndcg."),
    Table(name="contriever-unsupervised", title="Contriever without supervision on BEIR",
          source="Izacard et al., TMLR 2022, arXiv:2112.09118, Table 11; facebookresearch/contriever, README",
          match=r"Contriever paper (Table 11|Table 10/11, README \| Contriever: unsup)", kind="three",
          tasks=(*TOUCHE, ("BEIR average (14, without MS MARCO)", "BEIR average (14), TREC-COVID capped")),
          note="R@100 of TREC-COVID is capped. The README's second table of R@100 calls both its rows"
          " Contriever-msmarco: the first is this model. Its mean is .596 there, .601 in the paper."),
    Table(name="contriever-qa", title="Contriever on NQ and TriviaQA", source="facebookresearch/contriever, README",
          match=r"^facebookresearch/contriever README \||README prints 67.8", kind="three",
          note="R@k is answer accuracy. The README prints R@20 of TriviaQA as 67.8, NQ's cell; 74.2 is from memory."),
    Table(name="ar2", title="AR2 on NQ, TriviaQA and MS MARCO", source="Zhang et al., ICLR 2022, arXiv:2110.03611, Table 1",
          match=r"AR2 paper arXiv:2110.03611", kind="three", note="R@k of NQ and TriviaQA is answer accuracy."),
    Table(name="ance", title="ANCE as its authors report it", source="microsoft/ANCE, README", match=r"microsoft/ANCE README", kind="three"),
    Table(name="dpr", title="DPR as its authors report it", source="facebookresearch/DPR, README", match=r"facebookresearch/DPR README", kind="four"),
    Table(name="adore", title="STAR and ADORE", source="jingtaozhan/DRhard, README", match=r"DRhard README", kind="three"),
    Table(name="retromae-beir", title="RetroMAE and DupMAE on BEIR",
          source="Liu et al., ACL 2023, arXiv:2305.02564, Table 3; staoxiao/RetroMAE, README",
          match=r"RetroMAE-2 paper Table 3|staoxiao/RetroMAE README \| RetroMAE: README", kind="three", methods=((r"BM25: ", ""),),
          note="The order of the columns is inferred from the averages. What the README calls RetroMAE v2 with .491"
          " is DupMAE adapted to each domain; zero-shot it is .477. BM25 is quoted, of an unknown family."),
    Table(name="retromae-msmarco", title="RetroMAE on MS MARCO passages", source="staoxiao/RetroMAE, README",
          match=r"staoxiao/RetroMAE README \| RetroMAE: (?!README)", kind="three", tasks=tuple(TITLES.items()), note=TITLED),
    Table(name="dupmae-msmarco", title="DupMAE on MS MARCO passages", source="Liu et al., ACL 2023, arXiv:2305.02564, Tables 1 and 4",
          match=r"RetroMAE-2/DupMAE paper|RetroMAE-2 paper Table 4", kind="three",
          tasks=(*TITLES.items(), ("TREC DL 2019 passage", "TREC DL 2019 passage with RocketQA's titles")),
          quoted=r"(ANCE|SEED|RocketQAv2|AR2|SPLADE|ColBERTv2|ERNIE|SimLM)", note=TITLED, methods=((r"ColBERTv2: ", "late_interaction/colbertv2"),
          (r"ANCE: ", "dense/ance"))),
    Table(name="dupmae-documents", title="DupMAE on MS MARCO documents", source="Liu et al., ACL 2023, arXiv:2305.02564, Table 2",
          match=r"RetroMAE-2 paper Table 2", kind="three", tasks=tuple(DOCUMENTS.items()), methods=((r"DupMAE", ""),)),
    Table(name="muvera-candidates", title="Candidates to reach a recall, MUVERA", source="Dhulipala et al., NeurIPS 2024, arXiv:2405.19504, Table 1",
          match=r"MUVERA Table 1", kind="seeds",
          note="Counts of candidates, not a measure of a ranking: the claim muvera-candidates tests the relation (rankstone claims). A count above 10,000 is left out."),
    Table(name="muvera-recall", title="Recall of fixed dimensional encodings",
          source="Dhulipala et al., NeurIPS 2024, arXiv:2405.19504, Tables 2 to 4", match=r"MUVERA Tables? [23]", kind="seeds"),
    Table(name="muvera-end-to-end", title="MUVERA and PLAID end to end", source="Dhulipala et al., NeurIPS 2024, arXiv:2405.19504, Figure 7",
          match=r"Figure 7 bar labels", kind="seeds",
          methods=((r"ColBERTv2/PLAID", ""),),  # its pruning is another system than exact MaxSim
          note="Read off the labels of bars. Latencies are left out: the average of 90% less is 1.9 times as fast."),
    Table(name="loco-v1", title="LoCoV1 with M2-BERT", source="Saad-Falcon et al., ICML 2024, arXiv:2402.07440v3, Tables 3 and 13",
          match=r"LoCo paper (arXiv:2402.07440v3 Table 13|Table 3)", kind="data",
          note="Table 3 and the abstract have 94.7 for M2-BERT of 32,768 tokens; Table 13 has 91.1, the mean of its twelve tasks."
          " QMSum's documents shrank after release. BM25 is given as an average alone, its family is not told."),
    Table(name="loco-beir", title="M2-BERT on BEIR", source="Saad-Falcon et al., ICML 2024, arXiv:2402.07440v3, Table 12",
          match=r"LoCo paper Table 12", kind="three"),
    Table(name="mamba-retriever", title="Mamba Retriever on MS MARCO, BEIR and LoCoV0",
          source="Zhang et al., CIKM 2024, arXiv:2408.08066; 41924076/MambaRetriever, README", match=r"MambaRetriever README", kind="four",
          note="No weights were released."),
    Table(name="repconc", title="RepCONC, JPQ and OPQ", source="Zhan et al., WSDM 2022, arXiv:2110.05789; jingtaozhan/RepCONC, examples/*/README.md",
          match=r"jingtaozhan/RepCONC", kind="three",
          methods=((r"TAS-B uncompressed", "dense/tas-b"), (r"ANCE uncompressed", "dense/ance"))),
    Table(name="jpq", title="JPQ on BEIR", source="Zhan et al., CIKM 2021, arXiv:2108.00644; jingtaozhan/JPQ, README",
          match=r"jingtaozhan/JPQ README", kind="three", methods=((r"ANCE \(as quoted", "dense/ance"),)),
    Table(name="generative", title="Generative retrieval at scale", source="Pradeep et al., EMNLP 2023, arXiv:2305.11841",
          match=r"Pradeep et al", kind="trained", note="From notes on the paper. No weights were released.",
          tasks=(("MS MARCO passage 8.8M", "msmarco/dev"), ("TREC DL 2019 passage", "msmarco/trec-dl-2019"),
                 ("TREC DL 2020 passage", "msmarco/trec-dl-2020"))),
    Table(name="opensearch-sparse", title="OpenSearch's sparse encoders on BEIR", source="Geng et al., arXiv:2411.04403; the models' cards",
          match=r"HF model card \| OpenSearch", kind="three"),
    Table(name="vdr", title="VDR and SVDR as released", source="Zhou et al., ICLR 2024; jzhoubu/vsearch, README and model cards",
          match=r"jzhoubu/vsearch", kind="three", note="R@k of NQ is answer accuracy. Its mean of 12 leaves out TREC-COVID."),
    Table(name="minilm-cross-encoders", title="MiniLM cross-encoders on MS MARCO", source="the models' cards, sbert.net",
          match=r"SBERT docs table", kind="reranked",
          note="They re-rank 1,000 candidates of BM25 on dev, and all candidates of TREC on DL 2019; ours re-rank 100."),
    Table(name="colbertv2", title="ColBERTv2 on BEIR", source="Santhanam et al., NAACL 2022, arXiv:2112.01488, Table 5",
          match=r"memory of ColBERTv2", kind="three", note=MEMORY),
    Table(name="unixcoder", title="UniXcoder", source="Guo et al., ACL 2022, arXiv:2203.03850, Tables 1 and 4",
          match=r"UniXcoder paper|UniXcoder Table 1", kind="four", methods=((r"UniXcoder: zero-shot", "dense/unixcoder"),),
          note="The code of CodeNet has to be rebuilt; there is no task of it. Table 1 is of fine-tuned models, never released."),
    Table(name="modularstarencoder", title="Exits of ModularStarEncoder", source="Gurioli et al., arXiv:2503.03008; the models' cards",
          match=r"ModularStarEncoder-finetuned \||arXiv:2503.03008", kind="three",
          note="CodeSearchNet as CodeXGLUE has it, of which there is no task. The best exit is layer 18 of 36."),
    Table(name="gear", title="GeAR", source="Liu et al., ACL 2025, arXiv:2501.02772", match=r"arXiv:2501.02772", kind="three",
          note="No weights were released."),
    mteb("bge", "bge-base-en-v1.5 on MTEB", "BAAI__bge-base-en-v1.5"),
    mteb("all-minilm-l6-v2", "all-MiniLM-L6-v2 on MTEB", "sentence-transformers__all-MiniLM-L6-v2",
         note="CoIR's CosQA has another corpus than code/cosqa."),
    mteb("all-mpnet-base-v2", "all-mpnet-base-v2 on MTEB", "sentence-transformers__all-mpnet-base-v2"),
    mteb("multi-qa-minilm", "multi-qa-MiniLM-L6-cos-v1 on MTEB", "sentence-transformers__multi-qa-MiniLM-L6-cos-v1"),
    mteb("e5", "E5 on MTEB", "intfloat__e5-(small|base|large)(-v2)?"),
    mteb("e5-mistral", "E5-Mistral on MTEB", "intfloat__e5-mistral-7b-instruct"),
    mteb("jina-v2", "Jina v2 on MTEB", "jinaai__jina-embeddings-v2-base-en"),
    mteb("nomic", "nomic-embed-text-v1.5 on MTEB", "nomic-ai__nomic-embed-text-v1.5"),
    mteb("potion", "Static embeddings on MTEB", "minishlab__potion-[\\w-]+"),
    mteb("colbertv2", "ColBERTv2 on MTEB", "colbert-ir__colbertv2.0"),
    mteb("gte-moderncolbert", "GTE-ModernColBERT on MTEB", "lightonai__GTE-ModernColBERT-v1"),
    mteb("bm25s", "BM25 of bm25s on MTEB", "mteb__baseline-bm25s", kind="library",
         methods=((r"BM25 \(bm25s\)", "lexical/bm25-mteb"),),
         note="The family of bm25s at k1=1.5, b=0.75, never to be mixed with Lucene's. MTEB fills a ranking with documents that"
         " share no word with the query, so its R@100 is above ours where queries are short: NFCorpus."),
    mteb("opensearch-sparse", "OpenSearch's sparse encoders on MTEB", "opensearch-project__[\\w.-]+"),
    mteb("granite", "granite-embedding-30m-english on MTEB", "ibm-granite__granite-embedding-30m-english"),
)  # fmt: skip


def main(facts: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    place = Workspace.find(root)
    known = owners([place.method(name) for name in place.method_names()])
    with facts.open(encoding="utf-8", newline="") as file:
        wanted = [fact for fact in csv.DictReader(file) if concerns(fact)]
    for fact in wanted:
        tables = [table.name for table in TABLES if table.takes(fact) and not table.again]
        if len(tables) != 1:
            sys.exit(f"{tables or 'no table'}: {fact}")
    for table in TABLES:
        text = toml(table, [fact for fact in wanted if table.takes(fact)], known, place)
        (place.papers / f"{table.name}.toml").write_text(text, encoding="utf-8", newline="\n")


def concerns(fact: dict[str, str]) -> bool:
    """Whether the fact is an effectiveness value that belongs into a table."""
    companion = re.search("AR2|contriever|ANCE README|arXiv:2501.02772", fact["source"])
    about = OURS.search(fact["dataset"]) or companion
    abstract = re.search(r"paper abstract|^abstract", fact["source"])
    bound = fact["value"].startswith(">")
    return bool(about) and not COSTS.search(fact["metric"]) and not abstract and not bound


def system_of(fact: dict[str, str]) -> str:
    return f"{fact['system']}: {fact['variant']}"


def toml(table: Table, facts: list[dict[str, str]], known: dict[str, str], place: Workspace) -> str:
    """The definition of `table`."""
    tolerance, digits, because = TOLERANCES[table.kind]
    lines = [
        f"title = {quoted(table.title)}",
        f"source = {quoted(table.source)}",
        f"tolerance = {number(tolerance)}",
        f"because = {quoted(because)}",
        f"digits = {digits}",
        *([f"note = {quoted(table.note)}"] if table.note else []),
    ]
    rows: dict[tuple[str, str | None, str, str], list[dict[str, str]]] = {}
    for fact in facts:
        key = (label(fact), method(table, fact, known), measure_of(fact), fact["confidence"])
        rows.setdefault(key, []).append(fact)
    for (row, owner, measure, confidence), found in rows.items():
        lines += ["", "[[rows]]", f"row = {quoted(row)}"]
        lines += [f"method = {quoted(owner)}"] if owner else []
        lines += [f"measure = {quoted(measure)}"]
        lines += [f"confidence = {quoted(confidence)}"] if confidence != "high" else []
        smallest = min(float(fact["value"]) for fact in found)
        if smallest > 1:
            lines += [f"tolerance = {number(smallest / 10)}"]
        lines += values(table, found, place)
    return "\n".join(lines) + "\n"


def label(fact: dict[str, str]) -> str:
    """The row as its source calls it, with what tells it from others of that name."""
    parts = [fact["system"]]
    if fact["variant"] not in ("", "MTEB run", fact["system"]):
        parts.append(fact["variant"])
    if "embeddings-benchmark" in fact["source"] or "HF model card" in fact["source"]:
        parts[0] = fact["checkpoint"].rpartition("/")[2] or parts[0]
    if "/external/" in fact["source"]:
        parts.append("external")
    if re.search("SPLADE family|MiniLM cross-encoder", fact["system"]):
        parts[0] = fact["checkpoint"].rpartition("/")[2]
    if "castorini/anserini" in fact["source"] and "msmarco" in fact["source"]:
        parts.append("Anserini")
    return ", ".join(parts)


def method(table: Table, fact: dict[str, str], known: dict[str, str]) -> str | None:
    for pattern, name in table.methods:
        if re.match(pattern, system_of(fact)):
            return name or None
    return next(iter(methods_of(fact, known)), None)


def values(table: Table, facts: list[dict[str, str]], place: Workspace) -> list[str]:
    """`expected` and `elsewhere` of one row."""
    expected: dict[str, str] = {}
    elsewhere: dict[str, str] = {}
    for fact in facts:
        task = task_in(table, fact, set(place.tasks))
        into = expected if task in place.tasks or task in place.suites else elsewhere
        name = task or dataset_of(fact)
        if into.get(name, fact["value"]) != fact["value"]:
            sys.exit(f"{table.name}: {name} has two values: {fact}")
        into[name] = fact["value"]
    return [
        f"{key} = {{ " + ", ".join(f"{quoted(k)} = {v}" for k, v in found.items()) + " }"
        for key, found in (("expected", expected), ("elsewhere", elsewhere))
        if found
    ]


def task_in(table: Table, fact: dict[str, str], tasks: set[str]) -> str:
    if not re.match(table.quoted, system_of(fact)):
        named = dict(table.tasks).get(fact["dataset"])
        if named is not None:
            return named
    if table.name == "pyserini-nq" and fact["system"] == "BM25":
        return "nq/dpr" if fact["variant"].endswith("dpr-topics") else "nq/dpr-open"
    if fact["metric"].startswith("candidates"):
        return ""
    return SUITES.get(fact["dataset"]) or task_of(fact, tasks)


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def number(value: float) -> str:
    return f"{value:.7f}".rstrip("0") if value < 1 else f"{value:g}"


def files() -> Iterable[str]:
    """The names of all tables, for the test that none was forgotten."""
    return (table.name for table in TABLES)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
