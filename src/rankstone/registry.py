"""Short names of adapters and loaders, so that moving a class does not change digests.

A definition names an adapter (`adapter = "dense"`) or a loader (`loader = "beir"`) by a name in the
tables below, by the name of an entry point of an installed package, or by `module:NAME`.
"""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import Any, Literal, NamedTuple

from rankstone.errors import DefinitionError, did_you_mean

Kind = Literal["adapter", "loader"]


class _Table(NamedTuple):
    group: str
    """Group of entry points ``name = "module:NAME"`` with which other packages register theirs."""
    home: str
    """Package that contains the targets of `names`."""
    names: dict[str, str]


ADAPTERS = {
    "anncur": "search.blackbox.anncur:AnnCur",
    "api": "encoders.api:ApiEncoder",
    "api_listwise": "scorers.api_listwise:ApiListwise",
    "api_rerank": "scorers.api_rerank:ApiScorer",
    "ast_graph": "encoders.ast_graph.code_encoder:AstGraphEncoder",
    "asymmetric": "compose.asymmetric:Asymmetric",
    "bank_normalisation": "search.hubness:BankNormalisation",
    "bebr": "search.binary.bebr:Bebr",
    "bebr_compatible": "search.binary.bebr:CompatibleBebr",
    "bi_encoder": "scorers.bi_encoder:BiEncoderScorer",
    "binary_hash": "search.binary.binary_hash:BinaryHash",
    "bm25": "encoders.bm25:BM25",
    "causal_reranker": "scorers.causal_reranker:CausalReranker",
    "chunked": "compose.chunked:ChunkedEncoder",
    "content_thresholds": "search.binary.bebr:ContentThresholds",
    "cross_encoder": "scorers.cross_encoder:CrossEncoderScorer",
    "dense": "encoders.dense:DenseEncoder",
    "dupmae": "encoders.dupmae:DupMAE",
    "elasticsearch": "search.engines.servers.opensearch_vectors:Elasticsearch",
    "elasticsearch_bm25": "search.engines.servers.opensearch_bm25:ElasticsearchBM25",
    "exhaustive": "search.blackbox.exhaustive:Exhaustive",
    "funnel": "search.adaptive:Funnel",
    "fusion": "scorers.gear.fusion:FusionScorer",
    "generative": "encoders.generative:GenerativeRetriever",
    "hnsw": "search.faiss.hnsw:HNSW",
    "hnswlib": "search.engines.hnswlib_index:HnswLib",
    "ivf": "search.faiss.ivf:InvertedFile",
    "jpq": "search.quantisation.jpq:JPQ",
    "lancedb": "search.engines.lancedb_index:LanceDB",
    "late_interaction": "encoders.late_interaction:LateInteraction",
    "learned_thresholds": "search.binary.bebr:LearnedThresholds",
    "listwise": "scorers.listwise_reranker:ListwiseReranker",
    "lucene_flat": "lucene.lucene_bm25:LuceneFlat",
    "lucene_impact": "lucene.lucene_impact:LuceneImpact",
    "lucene_multifield": "lucene.lucene_bm25:LuceneMultifield",
    "lucene_prebuilt": "lucene.lucene_prebuilt:LucenePrebuilt",
    "lucene_prebuilt_impact": "lucene.lucene_prebuilt:LucenePrebuiltImpact",
    "lucene_rm3": "lucene.lucene_bm25:LuceneRM3",
    "milvus": "search.engines.servers.milvus_index:Milvus",
    "muvera": "search.multi_vector.muvera:Muvera",
    "opensearch": "search.engines.servers.opensearch_vectors:OpenSearch",
    "opensearch_bm25": "search.engines.servers.opensearch_bm25:OpenSearchBM25",
    "own_reranker": "scorers.own_reranker:OwnReranker",
    "poly_encoder": "scorers.poly_encoder:PolyEncoderScorer",
    "postgres": "search.engines.servers.postgres_index:Postgres",
    "product_quantisation": "search.quantisation.pq:ProductQuantisation",
    "qdrant": "search.engines.qdrant_index:Qdrant",
    "reciprocal_rank_fusion": "compose.fusion:ReciprocalRankFusion",
    "repconc": "search.quantisation.repconc:RepCONC",
    "rescored": "compose.rescored:RescoredByEncoder",
    "residual_signs": "search.binary.bebr:ResidualSigns",
    "scalar_quantisation": "search.quantisation.scalar:ScalarQuantisation",
    "score_sum": "compose.score_sum:ScoreSum",
    "seismic": "search.sparse.seismic:Seismic",
    "seq2seq_reranker": "scorers.seq2seq_reranker:Seq2SeqReranker",
    "single_vector": "search.multi_vector.single_vector:SingleVector",
    "sparse": "encoders.sparse:SparseEncoder",
    "static": "encoders.static:StaticEmbeddings",
    "tantivy": "search.engines.tantivy_index:Tantivy",
    "token_vectors": "encoders.late_interaction:TokenVectors",
    "token_weights": "encoders.token_weights:TokenWeights",
    "two_stage": "compose.two_stage:TwoStage",
    "two_step": "search.sparse.two_step:TwoStep",
    "uni_encoder": "scorers.uni_encoder:UniEncoderScorer",
    "usearch": "search.engines.usearch_index:USearch",
    "vdr": "encoders.vdr:VDR",
    "weighted_fusion": "compose.weighted_fusion:WeightedFusion",
}
LOADERS = {
    "answer_sentences": "chunk_collections:load_sentences",
    "beir": "beir:load",
    "beir_zip": "beir_zip:load",
    "dpr": "dpr:load",
    "generated": "generated:load",
    "hub": "mteb_layout:load",
    "irds": "irds:load",
    "loco_qmsum": "loco:rebuild_qmsum",
    "loco_v0": "loco:load_v0",
    "loco_v1": "loco:load_v1",
    "packages": "packages:load",
    "plain": "plain:load",
    "qrels": "qrels:load",
    "retro_chunks": "chunk_collections:load",
    "stdlib": "stdlib:load",
    "trec": "trec:load",
}
TABLES: dict[Kind, _Table] = {
    "adapter": _Table("rankstone.runners", "rankstone.runners", ADAPTERS),
    "loader": _Table("rankstone.loaders", "rankstone.benchmarks.loaders", LOADERS),
}


def target(kind: Kind, name: str, where: str) -> str:
    """Return the `module:NAME` that `name` refers to.

    Args:
        where: the definition, for the error.

    Raises:
        DefinitionError: `name` is not registered, or is a path into this package.
    """
    table = TABLES[kind]
    if name.startswith("rankstone."):
        raise DefinitionError(f"{where}: key '{kind}': {_moved(table, name)}")
    if ":" in name:
        return name
    if name in table.names:
        return f"{table.home}.{table.names[name]}"
    known = {point.name: point.value for point in entry_points(group=table.group)}
    if name in known:
        return known[name]
    hint = did_you_mean(name, [*table.names, *known])
    raise DefinitionError(
        f"{where}: key '{kind}': '{name}' is neither 'module:NAME' nor a registered {kind}."
        f"{hint} Registered: {', '.join(sorted({*table.names, *known}))}."
        " Correct it, or install the package that registers it."
    )


def load(kind: Kind, name: str, where: str) -> Any:
    """Import and return the object that `name` refers to.

    Raises:
        DefinitionError: as `target`; or the module, or the name in it, does not exist.
    """
    module_name, _, attribute = target(kind, name, where).partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module exists, but one of its imports does not
        raise DefinitionError(
            f"{where}: key '{kind}': no module '{module_name}'."
            " Correct it, or install the package that has it."
        ) from None
    found = getattr(module, attribute, None)
    if found is None:
        public = [n for n in vars(module) if not n.startswith("_")]
        raise DefinitionError(
            f"{where}: key '{kind}': module '{module_name}' has no '{attribute}'."
            f"{did_you_mean(attribute, public)} Correct it."
        )
    return found


def _moved(table: _Table, path: str) -> str:
    """Return the message with the short name that replaces a path into this package."""
    module, _, attribute = path.partition(":")
    stem = module.rpartition(".")[2]
    endings = (f":{attribute}",) if attribute != "load" else (f"{stem}:load",)
    short = next((name for name, t in table.names.items() if t.endswith(endings)), None)
    known = f'"{short}"' if short else ", ".join(sorted(table.names))
    return f"'{path}' is a path into rankstone, whose modules move. Write its short name: {known}."
