"""``python -m ml.artifact``: what it prints, where, and what it ends with."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ml.artifact import Manifest, TensorsProof, read_manifest
from ml.artifact.command_line import main
from ml.artifact.progress_bar import ProgressBar, bar

from .builders import SMALL, file_bytes, write

ROOT = Path(__file__).parents[2]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(tmp_path, file_bytes(SMALL))


@pytest.fixture
def manifest(model: Path) -> Path:
    return write(model.parent, read_manifest(model).to_json().encode(), "model.json")


@pytest.fixture
def other(model: Path) -> Path:
    """The model with one tensor changed."""
    tensors = SMALL | {"steps": ("I64", [], bytes(8))}
    return write(model.parent, file_bytes(tensors), "other.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "folder"
    root.mkdir()
    write(root, file_bytes(SMALL))
    write(root, b"{}", "config.json")
    return root


def weights_of(path: Path) -> str:
    return f"0x{read_manifest(path).weights.hex()}"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command; its exit code and what it printed."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def ask(run: Callable[..., tuple[int, str, str]]) -> Callable[..., tuple[int, Any]]:
    """Runs a command that answers in JSON."""

    def ask(*arguments: object) -> tuple[int, Any]:
        code, out, _ = run(*arguments, "--json")
        return code, json.loads(out)

    return ask


# identify


def test_identify_prints_the_identity(run: Any, model: Path) -> None:
    code, out, err = run("identify", model)
    assert (code, err) == (0, "")
    assert f"weights  {weights_of(model)}\n" in out
    assert "tensors  3 of 38 bytes in all\n" in out


def test_identify_answers_in_json(ask: Any, folder: Path) -> None:
    made = read_manifest(folder)
    code, answer = ask("identify", folder)
    assert code == 0
    assert answer == {
        "weights": weights_of(folder),
        "format": "safetensors",
        "tensors": 3,
        "bytes": 38,
        "tree_root": f"0x{made.tree_root.hex()}",
        "digest_algorithm": "BLAKE3",
        "files": 1,
        "files_root": f"0x{made.files_root.hex()}",
        "ignored": list(made.ignored),
    }


def test_identify_reports_what_is_not_finite(ask: Any, tmp_path: Path) -> None:
    torch.save({"bad": torch.tensor([float("nan")]), "good": torch.ones(1)}, tmp_path / "m.pt")
    code, answer = ask("identify", tmp_path / "m.pt", "--non-finite")
    assert (code, answer["non_finite"], answer["format"]) == (0, ["bad"], "torch")


def test_options_choose_what_is_read_and_how(ask: Any, folder: Path) -> None:
    torch.save({"a": {"x": torch.ones(1)}, "b": {"y": torch.ones(1)}}, folder / "two.pt")
    write(folder, b"x", "train.log")
    options = ("--tensors", "two.pt", "--key", "b", "--ignore", "*.log", "--ignore", "config.json")
    _, answer = ask("identify", folder, "--sha256", *options)
    assert (answer["tensors"], answer["files"], answer["digest_algorithm"]) == (1, 1, "SHA256")
    assert answer["ignored"][-2:] == ["*.log", "config.json"]


# manifest


def test_manifest_is_printed_as_it_is_written(run: Any, model: Path) -> None:
    expected = read_manifest(model).to_json()
    assert run("manifest", model) == (0, expected, "")
    target = model.parent / "new" / "m.json"
    code, out, _ = run("manifest", model, "--output", target)
    assert (code, target.read_text()) == (0, expected)
    assert weights_of(model) in out


def test_manifest_that_cannot_be_written_is_a_sentence(run: Any, model: Path) -> None:
    code, _, err = run("manifest", model, "--output", model / "inside.json")
    assert code == 2
    assert err.startswith("Error: cannot use '")
    assert err.count("\n") == 1


# verify


def test_verify_accepts_the_model_by_its_manifest_and_by_its_identity(
    run: Any, model: Path, manifest: Path
) -> None:
    weights = weights_of(model)
    for expected in ([manifest], [manifest, "--weights", weights], [weights]):
        code, out, err = run("verify", model, *expected)
        assert (code, err) == (0, "")
        assert out.startswith(f"Verified: '{model}' is {weights} (")


def test_verify_accepts_the_model_in_another_format(run: Any, tmp_path: Path) -> None:
    state = {"a": torch.ones(2, 3).t(), "b": torch.zeros(())}
    torch.save(state, tmp_path / "m.pt")
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "m.st")
    assert run("verify", tmp_path / "m.pt", weights_of(tmp_path / "m.st"))[0] == 0


def test_verify_names_what_differs(ask: Any, run: Any, other: Path, manifest: Path) -> None:
    code, out, err = run("verify", other, manifest)
    assert (code, out) == (1, "")
    assert "; tensor 'steps' changed; get the file again" in err
    code, answer = ask("verify", other, manifest)
    assert (code, answer["verified"], answer["exit_code"]) == (1, False, 1)
    assert [d["name"] for d in answer["differences"]] == ["steps"]


def test_verify_uses_the_digests_of_the_manifest(run: Any, model: Path) -> None:
    manifest = model.parent / "m.json"
    run("manifest", model, "--sha256", "--output", manifest)
    assert run("verify", model, manifest)[0] == 0


def test_verify_refuses_the_manifest_of_another_model(
    run: Any, model: Path, other: Path, manifest: Path
) -> None:
    for expected in (manifest, weights_of(model)):
        code, _, err = run("verify", model, expected, "--weights", weights_of(other))
        assert code == 1
        assert "is that of 0x" in err


def test_verify_says_of_a_torn_file_that_it_is_not_the_model(
    run: Any, model: Path, manifest: Path
) -> None:
    model.write_bytes(model.read_bytes()[:-1])
    code, _, err = run("verify", model, manifest)
    assert code == 1
    assert "is not a valid safetensors file" in err


def test_verify_does_not_run_a_command_to_find_out(run: Any, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return os.system, (f"touch '{tmp_path}/witness'",)

    torch.save({"w": Bomb()}, tmp_path / "m.pt")
    code, _, err = run("verify", tmp_path / "m.pt", "0x" + 64 * "1")
    assert code == 1
    assert "asks for 'posix.system'" in err
    assert not (tmp_path / "witness").exists()


def test_verify_tells_of_rules_and_does_not_obey_them(run: Any, folder: Path) -> None:
    manifest = folder.parent / "m.json"
    run("manifest", folder, "--ignore", "*.log", "--output", manifest)
    assert run("verify", folder, manifest)[0] == 0
    write(folder, b"x", "a.log")
    code, _, err = run("verify", folder, manifest)
    assert code == 1
    assert "file 'a.log' was added" in err
    assert "to do that here too, --ignore '*.log'" in err
    assert run("verify", folder, manifest, "--ignore", "*.log")[0] == 0


# compare


def test_compare_lists_what_differs(ask: Any, run: Any, model: Path, other: Path) -> None:
    assert run("compare", model, other) == (1, "tensor 'steps' changed\n", "")
    code, answer = ask("compare", model, other)
    assert (code, answer["equal"]) == (1, False)
    assert answer["weights"] == [weights_of(model), weights_of(other)]
    assert answer["differences"] == [
        {
            "kind": "changed",
            "what": "tensor",
            "name": "steps",
            "text": "tensor 'steps' changed",
        }
    ]


def test_compare_takes_manifests_and_reads_the_other_model_alike(
    run: Any, model: Path, other: Path
) -> None:
    manifest = model.parent / "sha.json"
    run("manifest", model, "--sha256", "--output", manifest)
    assert run("compare", model, manifest)[0] == 0
    assert run("compare", manifest, model)[0] == 0
    assert run("compare", manifest, other)[0] == 1


# prove and check


def test_proof_is_made_from_a_model_or_its_manifest_and_holds(
    run: Any, model: Path, manifest: Path
) -> None:
    proof = model.parent / "proof.json"
    for source in (model, manifest):
        code, out, _ = run("prove", source, "fc.weight", "steps", "--output", proof)
        assert (code, proof.read_text()) == (0, run("prove", source, "fc.weight", "steps")[1])
        assert weights_of(model) in out
    assert TensorsProof.from_json(proof.read_text()).verify(read_manifest(model).weights)
    code, out, _ = run("check", proof, "--weights", weights_of(model))
    assert code == 0
    assert "tensor 'steps' (I64 [], 0x" in out
    assert out.endswith(f"Verified: part of {weights_of(model)}.\n")


def test_check_without_weights_says_what_is_left_to_compare(run: Any, manifest: Path) -> None:
    proof = manifest.parent / "proof.json"
    run("prove", manifest, "steps", "--output", proof)
    code, out, _ = run("check", proof)
    assert code == 0
    assert "is for you to compare (--weights)" in out


def test_proof_of_another_model_does_not_hold(
    ask: Any, run: Any, manifest: Path, other: Path
) -> None:
    proof = manifest.parent / "proof.json"
    run("prove", manifest, "steps", "--output", proof)
    code, answer = ask("check", proof, "--weights", weights_of(other))
    assert (code, answer["verified"], answer["tensors"]) == (1, False, ["steps"])


def test_forged_proof_does_not_hold(run: Any, manifest: Path) -> None:
    proof = manifest.parent / "proof.json"
    run("prove", manifest, "steps", "--output", proof)
    document = json.loads(proof.read_text())
    document["tensors"][0]["digest"] = "0x" + 64 * "0"
    proof.write_text(json.dumps(document))
    assert run("check", proof)[0] == 1


# Wrong usage, and names that would like to be more than names.


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["weigh"], "invalid choice: 'weigh'"),
        (["identify"], "the following arguments are required: MODEL"),
        (["identify", "none.safetensors"], "there is no file 'none.safetensors'"),
        (["identify", "/dev/zero"], "is not a regular file"),
        (["verify", "x", "0x12"], "'0x12' is no identity"),
        (["verify", "x", "0x" + 64 * "g"], "is no identity"),
        (["verify", "x", "none.json"], "there is no file 'none.json'"),
        (["check", "none.json"], "there is no file 'none.json'"),
        (["check", "/dev/zero"], "is not a regular file"),
        (["identify", "x", "--ignore"], "expected one argument"),
    ],
)
def test_wrong_usage_is_one_sentence_and_ends_with_2(
    run: Any, ask: Any, arguments: list[str], reason: str
) -> None:
    code, out, err = run(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert reason in err
    if arguments and arguments != ["identify", "x", "--ignore"]:
        code, answer = ask(*arguments)
        assert (code, answer["exit_code"]) == (2, 2)
        assert reason in answer["error"]


def test_unknown_tensor_ends_with_2(run: Any, model: Path) -> None:
    code, _, err = run("prove", model, "fc.wait")
    assert code == 2
    assert "did you mean 'fc.weight'" in err


def test_text_that_is_no_proof_ends_with_2(run: Any, manifest: Path) -> None:
    code, _, err = run("check", manifest)
    assert code == 2
    assert "this is not a valid proof" in err


def test_hostile_name_cannot_reach_the_terminal(run: Any, model: Path) -> None:
    name = "\x1b[2J\n\u202e"
    bad = write(model.parent, file_bytes({name: ("U8", [], b"x")}), "bad.safetensors")
    _, out, _ = run("compare", model, bad)
    assert all(line.isprintable() for line in out.splitlines())
    assert out.count("\n") == 4


# As a process of its own.


def started(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ml.artifact", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **options)


def test_process_ends_with_the_code_and_has_printed_everything(
    model: Path, other: Path, manifest: Path
) -> None:
    good, bad = started("verify", model, manifest), started("verify", other, manifest)
    assert (good.returncode, bad.returncode) == (0, 1)
    assert good.stdout.startswith("Verified: ")
    assert bad.stderr.startswith("Error: ")
    printed = started("manifest", model)
    assert Manifest.from_json(printed.stdout) == read_manifest(model)


def test_process_imports_nothing_heavy(model: Path) -> None:
    program = (
        "import sys; from ml.artifact.command_line import main; main(sys.argv[1:])\n"
        "heavy = {'torch', 'numpy', 'ape', 'dataclasses', 'hashlib', 'threading', 'pathlib'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, "identify", model],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.splitlines()[-1] == "[]"


def test_name_that_the_terminal_cannot_write_is_escaped(model: Path) -> None:
    bad = write(model.parent, file_bytes({"层🙂": ("U8", [], b"x")}), "bad.safetensors")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = started("compare", model, bad, env=environment)
    assert (done.returncode, done.stderr) == (1, "")
    assert r"tensor '\u5c42\U0001f642' was added" in done.stdout


def test_reader_that_stops_listening_is_no_error(model: Path) -> None:
    command = [sys.executable, "-m", "ml.artifact", "manifest", str(model)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_bar_is_drawn_from_one_second_on_and_leaves_nothing_behind() -> None:
    terminal, seconds = Terminal(), iter([0.0, 0.9, 1.5, 1.55, 2.0])
    with ProgressBar(terminal, lambda: next(seconds)) as progress:
        assert progress is not None
        progress(10**9, 4 * 10**9)
        assert terminal.getvalue() == ""
        progress(2 * 10**9, 4 * 10**9)
        assert "50% of 4.0 GB" in terminal.getvalue()
        progress(3 * 10**9, 4 * 10**9)
        assert "75%" not in terminal.getvalue()  # so soon
        progress(4 * 10**9, 4 * 10**9)
    assert terminal.getvalue().endswith("100% of 4.0 GB, 2.00 GB/s, 0 s left\r\x1b[K")


def test_bar_is_not_drawn_where_nobody_sees_it() -> None:
    with ProgressBar(io.StringIO()) as progress:
        assert progress is None


def test_bar_says_how_much_is_done_and_how_fast() -> None:
    assert bar(5 * 10**9, 10**10, 2.0) == (
        "[###############...............]  50% of 10.0 GB, 2.50 GB/s, 2 s left"
    )
    assert bar(0, 0, 0.0).startswith("[" + 30 * "#" + "] 100%")


# pack


def test_pack_writes_one_file_of_the_same_identity(
    run: Callable[..., tuple[int, str, str]], folder: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "folder.tar"
    code, out, err = run("pack", folder, "--output", archive)
    assert (code, out, err) == (0, f"Written to '{archive}': {weights_of(folder)}.\n", "")
    assert run("verify", archive, weights_of(folder))[0] == 0
    assert run("compare", folder, archive)[0] == 0


def test_pack_refuses_what_is_no_folder(ask: Callable[..., tuple[int, Any]], model: Path) -> None:
    code, answer = ask("pack", model, "--output", model.with_name("m.tar"))
    assert code == 2
    assert "cannot read the folder" in answer["error"]
    assert not model.with_name("m.tar").exists()
