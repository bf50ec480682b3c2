"""``python -m ml.artifact sign-bundle`` and ``verify-bundle``: what they print and end with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml.artifact.command_line import main

from .keys import KeyPair, key_pair

Ask = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return key_pair(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    (root / "sub").mkdir(parents=True)
    (root / "config.json").write_bytes(b"{}")
    (root / "sub" / "a.bin").write_bytes(bytes(25))
    return root


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command; its exit code and what it printed."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def ask(run: Callable[..., tuple[int, str, str]]) -> Ask:
    """Runs a command that answers in JSON."""

    def ask(*arguments: object) -> tuple[int, Any]:
        code, out, _ = run(*arguments, "--json")
        return code, json.loads(out)

    return ask


def test_signed_model_is_verified(
    run: Callable[..., tuple[int, str, str]], model: Path, key: KeyPair, tmp_path: Path
) -> None:
    bundle = tmp_path / "model.sig"
    assert run("sign-bundle", model, "--key", key.private, "--output", bundle) == (
        0,
        f"Written to '{bundle}'.\n",
        "",
    )
    code, out, err = run("verify-bundle", model, bundle, "--key", key.public)
    assert (code, err) == (0, "")
    assert out == (
        f"Verified: '{model}' has the files that '{key.public}' signed (files: 2, digests:"
        " sha256).\nNot signed: '.git', '.gitattributes', '.github', '.gitignore'.\n"
    )


def test_bundle_goes_to_standard_output_unless_told_otherwise(
    run: Callable[..., tuple[int, str, str]], model: Path, key: KeyPair, tmp_path: Path
) -> None:
    code, out, _ = run("sign-bundle", model, "--key", key.private)
    bundle = tmp_path / "model.sig"
    bundle.write_text(out)
    assert code == 0
    assert run("verify-bundle", model, bundle, "--key", key.public)[0] == 0


def test_bundle_inside_the_model_is_left_out_when_it_is_made(
    ask: Ask, model: Path, key: KeyPair
) -> None:
    bundle = model / "sub" / "model.sig"
    for _ in range(2):  # the second time, there is one
        assert ask("sign-bundle", model, "--key", key.private, "--output", bundle)[0] == 0
    code, answer = ask("verify-bundle", model, bundle, "--key", key.public)
    assert (code, answer["files"]) == (0, 2)
    assert "sub/model.sig" in answer["ignored"]


def test_answer_for_machines_says_how_files_were_signed(
    ask: Ask, model: Path, key: KeyPair, tmp_path: Path
) -> None:
    bundle = tmp_path / "model.sig"
    options = ("--shard-size", "10", "--ignore", "config.json/", "--ignore", "other")
    ask("sign-bundle", model, "--key", key.private, "--output", bundle, *options)
    assert ask("verify-bundle", model, bundle, "--key", key.public) == (
        0,
        {
            "verified": True,
            "name": "model",
            "algorithm": "sha256",
            "shard_bytes": 10,
            "ignored": [*GIT, "config.json", "other"],
            "files": 1,
        },
    )


GIT = [".git", ".gitattributes", ".github", ".gitignore"]


def test_what_differs_ends_with_1_and_is_named(
    ask: Ask, model: Path, key: KeyPair, tmp_path: Path
) -> None:
    bundle = tmp_path / "model.sig"
    ask("sign-bundle", model, "--key", key.private, "--digest", "blake3", "--output", bundle)
    (model / "config.json").write_bytes(b"[]")
    (model / "new").touch()
    (model / "sub" / "a.bin").unlink()
    code, answer = ask("verify-bundle", model, bundle, "--key", key.public)
    assert (code, answer["verified"], answer["algorithm"]) == (1, False, "blake3")
    assert answer["error"] == (
        f"'{model}' is not what was signed: file 'config.json' changed, file 'new' was added, file"
        " 'sub/a.bin' is missing; get the files again from whoever signed them"
    )
    assert [(row["kind"], row["name"]) for row in answer["differences"]] == [
        ("changed", "config.json"),
        ("added", "new"),
        ("missing", "sub/a.bin"),
    ]


def test_signature_of_somebody_else_ends_with_1(
    ask: Ask, model: Path, key: KeyPair, tmp_path: Path
) -> None:
    bundle = tmp_path / "model.sig"
    other = key_pair(tmp_path, name="other")
    ask("sign-bundle", model, "--key", other.private, "--output", bundle)
    code, answer = ask("verify-bundle", model, bundle, "--key", key.public)
    assert (code, answer["verified"]) == (1, False)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--shard-size", "0"], "a shard has at least one byte"),
        (["--shard-size", "10", "--digest", "blake3"], "digests whole files by BLAKE3"),
        (["--shard-size", "ten"], "invalid int value"),
        (["--digest", "md5"], "invalid choice"),
        (["--ignore", "/etc"], "file path '/etc' does not stay inside the model"),
        (["--ignore", "../model"], "does not stay inside the model"),
        (["--key", "absent.pem"], "there is no file 'absent.pem'"),
    ],
)
def test_wrong_usage_ends_with_2(
    ask: Ask, model: Path, key: KeyPair, options: list[str], sentence: str
) -> None:
    code, answer = ask("sign-bundle", model, "--key", key.private, *options)
    assert code == 2
    assert sentence in answer["error"]


def test_bundle_that_is_none_ends_with_2(ask: Ask, model: Path, key: KeyPair) -> None:
    code, answer = ask("verify-bundle", model, model / "config.json", "--key", key.public)
    assert code == 2
    assert "is not a valid Model Signing bundle: its mediaType is 'None'" in answer["error"]
