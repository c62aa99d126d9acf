"""Give published records the digests that definitions have since adapters have short names.

``python tests/golden/restamp.py`` was run when the paths of classes in definitions became short
names (`rankstone.registry`), and when records got a digest of themselves (`digest`, the last key);
a second run changes nothing. A definition's digest holds the
name of its adapter or loader, so the same definition has another digest under each name. A record
that bears the digest of today's definition under the old path is given the digest under the short
name. One that was measured by another definition keeps the digest of its method.

Every file is parsed before and after. Where anything differs but `method.adapter`,
`method.digest`, `task.digest`, the record's `digest` and the digests of runs in the results of
claims and paper tables, nothing is written. Side files hold no definition. The `key` stays: it is
the digest of a measurement by the code of its time.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from rankstone.specs import AdapterSpec, TaskSpec, canonical_digest
from rankstone.workspace import Workspace

SpecT = TypeVar("SpecT", bound=AdapterSpec)
ADAPTERS = {
    "anncur": "search.anncur:AnnCur",
    "asymmetric": "search.asymmetric:Asymmetric",
    "bank_normalisation": "search.hubness:BankNormalisation",
    "bebr": "search.bebr:Bebr",
    "bi_encoder": "bi_encoder:BiEncoderScorer",
    "binary_hash": "search.binary:BinaryHash",
    "bm25": "bm25:BM25",
    "chunked": "chunked:ChunkedEncoder",
    "cross_encoder": "cross_encoder:CrossEncoderScorer",
    "dense": "dense:DenseEncoder",
    "dupmae": "dupmae:DupMAE",
    "exhaustive": "search.exhaustive:Exhaustive",
    "funnel": "search.adaptive:Funnel",
    "hnsw": "search.hnsw:HNSW",
    "ivf": "search.ivf:InvertedFile",
    "jpq": "search.jpq:JPQ",
    "late_interaction": "late_interaction:LateInteraction",
    "learned_thresholds": "search.bebr:LearnedThresholds",
    "lucene_flat": "lucene:LuceneFlat",
    "lucene_multifield": "lucene:LuceneMultifield",
    "lucene_rm3": "lucene:LuceneRM3",
    "muvera": "search.muvera:Muvera",
    "product_quantisation": "search.pq:ProductQuantisation",
    "reciprocal_rank_fusion": "fusion:ReciprocalRankFusion",
    "repconc": "search.repconc:RepCONC",
    "rescored": "search.two_encoders:RescoredByEncoder",
    "residual_signs": "search.bebr:ResidualSigns",
    "seismic": "search.seismic:Seismic",
    "single_vector": "search.single_vector:SingleVector",
    "sparse": "sparse:SparseEncoder",
    "static": "static:StaticEmbeddings",
    "token_vectors": "late_interaction:TokenVectors",
    "two_stage": "rerank:TwoStage",
    "two_step": "search.two_step:TwoStep",
    "vdr": "vdr:VDR",
    "weighted_fusion": "weighted_fusion:WeightedFusion",
}
"""Short name -> the path below `rankstone.runners` that definitions named before."""
LOADERS = {
    "beir": "beir:load",
    "beir_zip": "beir_zip:load",
    "dpr": "dpr:load",
    "irds": "irds:load",
    "loco_qmsum": "loco:rebuild_qmsum",
    "loco_v0": "loco:load_v0",
    "loco_v1": "loco:load_v1",
    "qrels": "qrels:load",
    "retro_chunks": "chunks:load",
    "stdlib": "stdlib:load",
}
"""Short name -> the path below `rankstone.benchmarks` that definitions named before."""
OF_RECORDS = re.compile(r"method\.adapter|method\.digest|task\.digest")
OF_RESULTS = re.compile(r".*\.runs\..*\.method")
"""Keys that may change: in a record, and in the results of claims and paper tables."""
OWN_DIGEST = re.compile(r',\n  "digest": "[0-9a-f]{64}"\n}\n$')
"""The end of a record that carries a digest of itself."""


def former(spec: SpecT) -> SpecT:
    """Return `spec` with the adapters' paths in place of short names, of all parts."""
    known = ADAPTERS.get(spec.adapter)
    changes: dict[str, Any] = {"members": tuple(map(former, spec.members))}
    if known is not None:
        changes["adapter"] = f"rankstone.runners.{known}"
    scorer = getattr(spec, "scorer", None)
    if scorer is not None:
        changes["scorer"] = former(scorer)
    return spec.model_copy(update=changes)


def former_task(task: TaskSpec) -> TaskSpec:
    """Return `task` with its loader's path in place of the short name."""
    known = LOADERS.get(task.loader)
    return task.model_copy(update={"loader": f"rankstone.benchmarks.{known}"}) if known else task


def digests(workspace: Workspace) -> dict[str, str]:
    """Return former digest -> present digest of every definition."""
    methods = [workspace.method(name) for name in workspace.method_names()]
    tasks = workspace.tasks.values()
    return {
        **{former(method).digest(): method.digest() for method in methods},
        **{former_task(task).digest(): task.digest() for task in tasks},
    }


def restamped_record(text: str, known: Mapping[str, str]) -> str:
    """Return the record's text with present digests, its own among them, and short names.

    Raises:
        ValueError: more would change.
    """
    text = OWN_DIGEST.sub("\n}\n", text)
    found = _replaced(text, known)
    if json.loads(text)["method"]["digest"] in known:
        paths = {f"rankstone.runners.{path}": short for short, path in ADAPTERS.items()}
        found = _replaced(found, paths, prefix='"adapter": ')
    return digested(_checked(text, found, OF_RECORDS))


def digested(text: str) -> str:
    """Return the record's text with the digest of its content as the last key.

    Raises:
        ValueError: more would change.
    """
    own = canonical_digest(json.loads(text))
    found = text.removesuffix("\n}\n") + f',\n  "digest": "{own}"\n}}\n'
    body = json.loads(found)
    body.pop("digest")
    if not text.endswith("\n}\n") or body != json.loads(text):
        raise ValueError("more than the record's digest would change")
    return found


def restamped_results(text: str, known: Mapping[str, str]) -> str:
    """Return the results of claims or tables with present digests of the runs' methods.

    Raises:
        ValueError: more would change.
    """
    return _checked(text, _replaced(text, known), OF_RESULTS)


def _replaced(text: str, names: Mapping[str, str], prefix: str = "") -> str:
    for former, present in names.items():
        text = text.replace(f'{prefix}"{former}"', f'{prefix}"{present}"')
    return text


def _checked(before: str, after: str, allowed: re.Pattern[str]) -> str:
    changed = sorted(_differences(json.loads(before), json.loads(after)))
    others = [key for key in changed if not allowed.fullmatch(key)]
    if others:
        raise ValueError(f"more than digests would change: {', '.join(others)}")
    return after


def _differences(before: Any, after: Any, key: str = "") -> Iterator[str]:
    """Yield the keys, from the root, at which two JSON values differ."""
    if isinstance(before, dict) and isinstance(after, dict) and [*before] == [*after]:
        pairs = [(name, before[name], after[name]) for name in before]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = [(str(n), *two) for n, two in enumerate(zip(before, after, strict=True))]
    elif type(before) is type(after) and before == after:
        return
    else:
        yield key
        return
    for name, one, other in pairs:
        yield from _differences(one, other, f"{key}.{name}" if key else name)


def main(root: Path) -> None:
    """Restamp the published records and results below `root`, all of them or none."""
    known = digests(Workspace.find(root))
    records = sorted((root / "results" / "reference").rglob("*@*.json"))
    results = [root / "leaderboards" / name for name in ("claims.json", "papers.json")]
    texts = {path: path.read_text(encoding="utf-8") for path in (*records, *results)}
    made = {path: restamped_record(texts[path], known) for path in records}
    made |= {path: restamped_results(texts[path], known) for path in results}
    changed = [path for path in made if made[path] != texts[path]]
    for path in changed:
        path.write_text(made[path], encoding="utf-8", newline="")
    kept = [p for p in records if '"adapter": "rankstone.' in made[p]]
    sys.stdout.write(
        f"{len(changed)} files changed, in digests and names of adapters alone;"
        f" {len(kept)} records keep the digest of their method\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parents[2])
