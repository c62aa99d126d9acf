"""Late interaction on a real collection: loss of quality by compressed storage."""

from pathlib import Path

import pytest

import rankstone

pytest.importorskip("sentence_transformers", reason="needs the extra 'dense'")
ROOT = Path(__file__).resolve().parents[2]
DEFINITION = ROOT / "runners" / "late_interaction" / "minilm-tokens.toml"


def workspace(folder: Path) -> Path:
    """Write a workspace with a definition of `minilm-tokens` for each storage."""
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
    runners = folder / "runners" / "tokens"
    runners.mkdir(parents=True)
    for storage in ("float32", "float16", "2bit"):
        text = DEFINITION.read_text().replace('"float16"', f'"{storage}"')
        (runners / f"{storage}.toml").write_text(text)
    return folder


@pytest.mark.slow
def test_two_bits_cost_little_and_sixteen_nothing(tmp_path: Path, data_folder: Path) -> None:
    records = rankstone.run(
        ["tokens/float32", "tokens/float16", "tokens/2bit"],
        "classic/cranfield",
        cache=tmp_path / "cache",
        results=tmp_path / "results",
        data=data_folder,
        workspace=workspace(tmp_path),
    )
    full, half, two = (record["measures"]["nDCG@10"]["mean"] for record in records)
    # Above the .374 of one vector per text, by the same encoder.
    assert full == pytest.approx(0.379, abs=0.005)
    assert half == pytest.approx(full, abs=0.001)
    assert two == pytest.approx(full, abs=0.01)
