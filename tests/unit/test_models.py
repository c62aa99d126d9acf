"""Lookup of models, and errors if they are not found."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from rankstone.errors import DefinitionError, ModelError
from rankstone.runners.models import locate, model_files
from rankstone.specs import Archive, ModelSpec


@pytest.fixture
def folder(tmp_path):
    for name in (
        "model.safetensors", "pytorch_model.bin", "config.json", "README.md", "code.py",
        "1_Pooling/config.json", "onnx/model.onnx", ".cache/x.json", "__pycache__/y.json",
    ):  # fmt: skip
        path = tmp_path / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "model"


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """An unreachable hub, with an empty cache."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_only_what_a_model_is_made_of_counts(folder):
    assert model_files(folder) == ["1_Pooling/config.json", "config.json", "model.safetensors"]


def test_an_explicit_path_comes_first(folder, monkeypatch):
    monkeypatch.setenv("MODELS", str(folder.parent))
    located = locate(ModelSpec(id="m", path="$MODELS/model", package="wordllama"))
    assert (located.origin, located.folder) == ("path", folder)
    assert located.files["config.json"] == sha256("config.json")


def test_a_path_that_is_no_folder_is_not_passed_over(tmp_path):
    with pytest.raises(ModelError, match=r"not a folder.*'path'"):
        locate(ModelSpec(id="m", path=str(tmp_path / "none"), package="wordllama"))


@pytest.mark.parametrize("name", ["model.safetensors", "absent.json"])
def test_a_file_that_is_not_the_pinned_one_is_refused(folder, name):
    found = sha256(name) if name == "model.safetensors" else "no such file"
    with pytest.raises(ModelError, match=f"{name}: expected sha256 {'0' * 64}, found {found}"):
        locate(ModelSpec(id="m", path=str(folder), sha256={name: "0" * 64}))


def test_a_package_is_found_without_importing_it(tmp_path, folder, monkeypatch):
    package = tmp_path / "carrier"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    folder.rename(package / "model")
    monkeypatch.syspath_prepend(tmp_path)
    located = locate(ModelSpec(id="m", package="carrier/model"))
    assert (located.origin, located.revision) == ("package", None)


def test_an_unavailable_model_names_the_searched_paths_and_the_remedy(offline):
    with pytest.raises(ModelError) as caught:
        locate(ModelSpec(id="no/such", package="no_such_package/model", revision="abc"))
    message = str(caught.value)
    assert "package: 'no_such_package' is not installed" in message
    assert "hub cache: " in message
    assert "hub: " in message
    assert "pip install no-such-package" in message
    assert "hf download no/such --revision abc" in message


def test_the_hub_cache_says_the_commit(monkeypatch, tmp_path, folder):
    snapshot = tmp_path / "snapshots" / "abc123"
    snapshot.parent.mkdir()
    folder.rename(snapshot)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *a, **k: str(snapshot))
    located = locate(ModelSpec(id="some/model"))
    assert (located.origin, located.revision) == ("hub cache", "abc123")


def test_a_folder_inside_is_the_model(folder):
    located = locate(ModelSpec(id="m", path=str(folder), folder="1_Pooling"))
    assert (located.folder, list(located.files)) == (folder / "1_Pooling", ["config.json"])
    with pytest.raises(ModelError, match=r"no folder 'none' in .*key 'folder'"):
        locate(ModelSpec(id="m", path=str(folder), folder="none"))


def test_a_model_may_state_how_to_get_it(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="Ask the authors kindly"):
        locate(ModelSpec(id="no/such", obtain="Ask the authors kindly."))


def test_code_counts_where_it_makes_the_model(folder):
    (folder / "config.json").write_text('{"auto_map": {"AutoModel": "code.Model"}}')
    assert "code.py" in model_files(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("modules.json", '[{"path": "", "type": "code.Module"}]'),
        ("tokenizer_config.json", '{"auto_map": {"AutoTokenizer": [null, "code.Tokenizer"]}}'),
        ("2_Dense/config.json", '{"activation_function": "code.Swish"}'),
        ("router_config.json", '{"types": {"query_0": "code.Module"}}'),
    ],
)
def test_all_code_counts_wherever_settings_name_some(folder, name, content):
    """Files imported by the named file run too."""
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(content)
    (folder / "helper.py").write_text("")
    assert {"code.py", "helper.py"} <= set(model_files(folder))


@pytest.fixture
def archive(tmp_path, folder, monkeypatch, offline):
    """A zip of the model in the folder `inner`, in three pieces, each in a separate package."""
    folder.rename(tmp_path / "inner")
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "inner")
    content = Path(packed).read_bytes()
    third = len(content) // 3 + 1
    for n in range(3):
        package = tmp_path / f"carrier-part_{n}"
        package.mkdir()
        (package / "__init__.py").write_text("raise RuntimeError('imported')")
        (package / f"zip.{n}").write_bytes(content[n * third : (n + 1) * third])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("RANKSTONE_CACHE", str(tmp_path / "cache"))
    pieces = tuple(f"carrier-part_{n}/zip.{n}" for n in range(3))
    return Archive(pieces=pieces, sha256=hashlib.sha256(content).hexdigest(), folder="inner")


def test_an_archive_in_pieces_is_unpacked_once(tmp_path, archive):
    wanted = ModelSpec(id="m", archive=archive, sha256={"config.json": sha256("config.json")})
    located = locate(wanted)
    assert (located.origin, located.revision) == ("package", None)
    assert list(located.files) == ["1_Pooling/config.json", "config.json", "model.safetensors"]
    shutil.rmtree(tmp_path / "carrier-part_1")
    assert locate(wanted) == located
    (located.folder / "config.json").write_text("changed")
    with pytest.raises(ModelError, match=rf"expected sha256.*delete {located.folder}, which is"):
        locate(wanted)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (shutil.rmtree, "'carrier-part_1' is not installed"),
        (lambda package: (package / "zip.1").unlink(), "'carrier-part_1' has no 'zip.1'"),
        (lambda package: (package / "zip.1").write_bytes(b"x"), r"joined: expected sha256 \w+, f"),
        (None, f"joined: expected sha256 {'0' * 64}, found"),
    ],
)
def test_a_broken_archive_leaves_nothing_and_states_the_command(tmp_path, archive, change, reason):
    if change is None:
        archive = archive.model_copy(update={"sha256": "0" * 64})
    else:
        change(tmp_path / "carrier-part_1")
    with pytest.raises(ModelError, match=reason) as caught:
        locate(ModelSpec(id="m", archive=archive))
    assert "--no-deps carrier-part-0 carrier-part-1 carrier-part-2" in str(caught.value)
    assert [*(tmp_path / "cache").rglob("inner")] == []


def test_carriers_do_not_change_the_digest_of_a_method(archive):
    plain = ModelSpec(id="m", sha256={"model.safetensors": "0" * 64})
    assert plain.model_copy(update={"archive": archive}).digest() == plain.digest()


def test_random_weights_are_written_once_and_equal_for_equal_configurations(offline, monkeypatch,
                                                                            tmp_path):  # fmt: skip
    tiny = {"model_type": "mamba", "hidden_size": 8, "num_hidden_layers": 1, "state_size": 4}
    found = []
    for name in ("one", "other"):
        monkeypatch.setenv("RANKSTONE_CACHE", str(tmp_path / name))
        found.append(locate(ModelSpec(id="random/tiny", random=tiny)))
        assert locate(ModelSpec(id="random/tiny", random=tiny)) == found[-1]
    assert (found[0].origin, found[0].revision) == ("random", None)
    assert found[0].folder != found[1].folder
    assert found[0].files == found[1].files
    assert "model.safetensors" in found[0].files
    with pytest.raises(DefinitionError, match=r"\[model.random\]: .*no-such"):
        locate(ModelSpec(id="random/tiny", random={"model_type": "no-such"}))
