"""Folders that are models: every file counts, but for those that rules leave out."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import torch

from ml.artifact import (
    AmbiguousModel,
    ArtifactError,
    FileChanged,
    FileEntry,
    InvalidEntry,
    Manifest,
    UnreadableFile,
    UnsupportedFormat,
    WeightsMismatch,
    load_verified,
    open_model,
    read_manifest,
)
from ml.artifact.folder import ALWAYS_IGNORED, is_ignored

from .builders import SMALL, file_bytes, write
from .test_sharded import INDEX, TENSORS, write_model

FILES = {"config.json": b"{}", "tokenizer/vocab.txt": b"a\nb\n", ".gitattributes": b""}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model with its config and its tokenizer."""
    root = tmp_path / "model"
    root.mkdir()
    write(root, file_bytes(SMALL))
    add(root, FILES)
    return root


def add(root: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def test_folder_is_its_tensors_and_its_other_files(folder: Path) -> None:
    tensors = read_manifest(folder / "model.safetensors").tensors
    files = [FileEntry(n, len(d), hashlib.sha256(d).digest()) for n, d in FILES.items()]
    assert read_manifest(folder) == Manifest(tensors, files)


def test_files_root_is_the_root_over_path_size_and_sha256(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert manifest.files_root != bytes(32)
    assert manifest.tree_root == read_manifest(folder / "model.safetensors").tree_root


@pytest.mark.parametrize("name", ["x", "model", "folder.pt", "deep/er"])
def test_place_and_name_of_the_folder_do_not_matter(folder: Path, name: str) -> None:
    before = read_manifest(folder)
    (folder.parent / name).parent.mkdir(exist_ok=True)
    assert read_manifest(folder.rename(folder.parent / name)) == before


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"config.json": b"{ }"}, "file 'config.json' changed"),
        ({"tokenizer/vocab.txt": b"a\nB\n"}, "file 'tokenizer/vocab.txt' changed"),
        ({"modeling.py": b""}, "file 'modeling.py' was added"),
        ({"__pycache__/m.pyc": b""}, "file '__pycache__/m.pyc' was added"),
        ({".hidden": b""}, "file '.hidden' was added"),
        ({"model.safetensors": file_bytes(SMALL | {"steps": ("I64", [], bytes(8))})}, "'steps'"),
    ],
)
def test_any_changed_file_is_named(folder: Path, change: dict[str, bytes], difference: str) -> None:
    expected = read_manifest(folder)
    add(folder, change)
    with pytest.raises(WeightsMismatch, match=difference):
        load_verified(folder, expected.weights, expected=expected)


def test_missing_file_is_named(folder: Path) -> None:
    expected = read_manifest(folder)
    (folder / "config.json").unlink()
    with pytest.raises(WeightsMismatch, match=r"file 'config\.json' is missing"):
        load_verified(folder, expected.weights, expected=expected)


def test_moved_file_is_another(folder: Path) -> None:
    before = read_manifest(folder)
    (folder / "tokenizer" / "vocab.txt").rename(folder / "vocab.txt")
    assert read_manifest(folder) != before


def test_empty_subfolder_does_not_matter(folder: Path) -> None:
    before = read_manifest(folder)
    (folder / "empty" / "too").mkdir(parents=True)
    assert read_manifest(folder) == before


def test_verified_tensors_of_a_folder_are_those_of_its_file(folder: Path) -> None:
    assert load_verified(folder, read_manifest(folder).weights).keys() == SMALL.keys()


# Which file has the tensors.


def test_shards_are_read_by_their_index_and_are_no_other_files(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    one = folder.parent / "one"
    one.mkdir()
    add(one, FILES)
    write(one, file_bytes(TENSORS), "any.safetensors")
    write_model(folder)
    with open_model(folder) as model:
        assert model.layout.format == "shards"
        assert model.manifest() == read_manifest(one)


def test_checkpoint_is_read_where_there_is_no_safetensors_file(folder: Path) -> None:
    before = read_manifest(folder)
    state = {
        "fc.weight": torch.frombuffer(bytearray(range(24)), dtype=torch.float32).reshape(2, 3),
        "fc.bias": torch.tensor([1.0, 2.0, 3.0], dtype=torch.bfloat16),
        "steps": torch.tensor(7),
    }
    (folder / "model.safetensors").unlink()
    torch.save({"model": state, "epoch": 3}, folder / "pytorch_model.bin")
    assert read_manifest(folder) == before


def test_checkpoint_beside_a_safetensors_file_is_a_file_like_others(folder: Path) -> None:
    torch.save({"w": torch.ones(2)}, folder / "pytorch_model.bin")
    manifest = read_manifest(folder)
    assert "pytorch_model.bin" in [file.path for file in manifest.files]
    assert [tensor.name for tensor in manifest.tensors] == sorted(SMALL)


@pytest.mark.parametrize("other", ["adapter.safetensors", INDEX])
def test_two_candidates_are_refused_unless_one_is_chosen(folder: Path, other: str) -> None:
    if other == INDEX:
        write_model(folder)
    else:
        write(folder, file_bytes({}), other)
    with pytest.raises(AmbiguousModel, match="say which of them is the model"):
        read_manifest(folder)
    chosen = read_manifest(folder, tensors="model.safetensors")
    assert [tensor.name for tensor in chosen.tensors] == sorted(SMALL)
    assert other in [file.path for file in chosen.files]
    assert read_manifest(folder, tensors=other).tensors != chosen.tensors


def test_key_chooses_in_the_checkpoint_of_a_folder(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"a": {"x": torch.ones(1)}, "b": {"y": torch.ones(1)}}, folder / "m.pt")
    assert [tensor.name for tensor in read_manifest(folder, key="b").tensors] == ["y"]


@pytest.mark.parametrize(
    ("name", "error"), [("none.safetensors", UnreadableFile), ("config.json", UnsupportedFormat)]
)
def test_chosen_file_without_tensors_is_refused(
    folder: Path, name: str, error: type[ArtifactError]
) -> None:
    with pytest.raises(error):
        read_manifest(folder, tensors=name)


def test_folder_without_tensors_is_its_files(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    manifest = read_manifest(folder)
    assert (manifest.tensors, len(manifest.files)) == ((), len(FILES))
    assert not manifest.is_opaque
    assert load_verified(folder, manifest.weights, manifest.digest_algorithm) == {}


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AmbiguousModel, match="there is nothing in the folder"):
        read_manifest(tmp_path)


def test_choice_where_there_is_no_folder_is_refused(folder: Path) -> None:
    for choice in ({"tensors": "model.safetensors"}, {"ignore": ["x"]}):
        with pytest.raises(ArtifactError, match="is no folder"):
            read_manifest(folder / "model.safetensors", **choice)


# Rules.


@pytest.mark.parametrize(
    ("rule", "ignored", "kept"),
    [
        ("a.txt", ["a.txt", "x/a.txt", "a.txt/b"], ["ba.txt", "x/a.txt2"]),
        ("*.log", ["a.log", "x/y.log", ".log"], ["a.log2", "alog"]),
        ("x/y", ["x/y", "x/y/z"], ["y", "z/x/y", "x/yz"]),
        ("x/*.log", ["x/a.log", "x/a.log/b"], ["a.log", "x/y/a.log"]),
        (".git", [".git/config", "sub/.git/x"], [".gitattributes", ".github/x"]),
        ("[ab]?", ["a1", "x/b2"], ["c1", "a12"]),
        ("A", ["A"], ["a"]),
    ],
)
def test_rule_leaves_out_what_it_stands_for(rule: str, ignored: list[str], kept: list[str]) -> None:
    assert all(is_ignored(path, [rule]) for path in ignored)
    assert not any(is_ignored(path, [rule]) for path in kept)


def test_what_tools_keep_and_what_is_said_about_a_model_do_not_matter(folder: Path) -> None:
    before = read_manifest(folder)
    names = (".git/HEAD", ".cache/huggingface/x", "modelproof.manifest.json", "model.sig")
    add(folder, dict.fromkeys(names, b"x"))
    assert read_manifest(folder) == before


def test_rules_are_recorded_and_no_part_of_the_identity(folder: Path) -> None:
    before = read_manifest(folder)
    add(folder, {"train.log": b"x", "logs/a": b"y"})
    manifest = read_manifest(folder, ignore=["*.log", "logs"])
    assert manifest.ignored == (*ALWAYS_IGNORED, "*.log", "logs")
    assert manifest == before
    read = Manifest.from_json(manifest.to_json())
    assert (read.ignored, read) == (manifest.ignored, manifest)


def test_rules_of_a_manifest_are_not_obeyed(folder: Path) -> None:
    expected = read_manifest(folder, ignore=["*.py"])
    add(folder, {"modeling.py": b"import os"})
    with pytest.raises(WeightsMismatch, match=r"file 'modeling\.py' was added"):
        load_verified(folder, expected.weights, expected=expected)


def test_manifest_of_a_file_says_nothing_of_rules(folder: Path) -> None:
    assert "ignored" not in read_manifest(folder / "model.safetensors").to_json()


# What cannot be part of a model.


@pytest.mark.parametrize("target", ["config.json", "/etc/passwd", "tokenizer", "nowhere"])
@pytest.mark.parametrize("name", ["link", "tokenizer/link"])
def test_link_is_refused_unless_it_is_ignored(folder: Path, name: str, target: str) -> None:
    before = read_manifest(folder)
    (folder / name).symlink_to(target)
    with pytest.raises(UnreadableFile, match=r"link' is neither a file nor a folder.*\(cp -rL\)"):
        read_manifest(folder)
    assert read_manifest(folder, ignore=["link"]) == before


def test_folder_may_be_named_by_a_link(folder: Path) -> None:
    link = folder.parent / "link"
    link.symlink_to(folder)
    assert read_manifest(link) == read_manifest(folder)


def test_pipe_is_refused_without_waiting(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(UnreadableFile, match="is neither a file nor a folder"):
        read_manifest(folder)


@pytest.mark.parametrize("name", [b"\xff.txt", b"a\\b", b"sub/\xfe"])
def test_name_that_other_systems_cannot_have_is_refused(folder: Path, name: bytes) -> None:
    add(folder, {os.fsdecode(name): b""})
    with pytest.raises(InvalidEntry) as caught:
        read_manifest(folder)
    assert str(caught.value).isprintable()


def test_hostile_name_cannot_reach_the_terminal(folder: Path) -> None:
    (folder / "\x1b[2J\n").symlink_to("nowhere")
    with pytest.raises(UnreadableFile) as caught:
        read_manifest(folder)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("data", [b"", b"{} "])
def test_file_that_changed_since_it_was_found_is_refused(folder: Path, data: bytes) -> None:
    with open_model(folder) as model:
        (folder / "config.json").write_bytes(data)
        with pytest.raises(FileChanged, match=r"config\.json' changed while it was read, from 2"):
            model.manifest()
