"""``python -m ml.artifact``: parse, run a command, print its answer, end with its exit code.

Neither a chain nor torch is needed, and little is imported before it is known what for: on a small
model, starting is what takes time. Results go to standard output, all else to standard error; the
command ends with 0 if all is well, with 1 if a model or a proof is not what was expected, and with
2 if the question could not be answered.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NoReturn

from ml.errors import ModelproofError

from . import commands
from .commands import Answer
from .errors import quoted_path

_PROGRAM: Final = "python -m ml.artifact"
_INTERRUPTED: Final = 130
_WIDTH: Final = 100
_EPILOG: Final = """\
A MODEL is a safetensors file, a torch checkpoint, the index of one in shards, a folder with one of
these, the archive of such a folder, or any other file. Where a manifest will do, it is known by its
name, which ends in .json.

examples:
  python -m ml.artifact identify model.safetensors
  python -m ml.artifact manifest folder/ --output folder.json
  python -m ml.artifact verify copy/ folder.json --weights 0x5f…
  python -m ml.artifact prove folder.json lm_head.weight --output proof.json
  python -m ml.artifact check proof.json --weights 0x5f…
  python -m ml.artifact pack folder/ --output folder.tar
  python -m ml.artifact sign-bundle folder/ --key private.pem --output model.sig
  python -m ml.artifact verify-bundle folder/ model.sig --key public.pem
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; ``arguments`` are the process's unless given.

    What goes wrong is one sentence on standard error, and with ``--json`` an object on standard
    output.
    """
    given = sys.argv[1:] if arguments is None else arguments
    try:
        options = _parser(given[0] if given else None).parse_args(given)
        answer: Answer = options.command(options)
        error = ""
    except (ModelproofError, OSError, KeyboardInterrupt) as raised:
        answer, error = _failure(raised)
    try:
        _print(answer, as_json="--json" in given)
    except BrokenPipeError:  # nobody reads on; nor may Python try to flush at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error:
        print(f"Error: {error}", file=sys.stderr)
    return answer.exit_code


def _failure(error: BaseException) -> tuple[Answer, str]:
    """What a command that did not come to its end answers, and the sentence that says why."""
    if isinstance(error, ModelproofError):
        sentence, exit_code, data = str(error), error.exit_code, error.data
    elif isinstance(error, OSError):
        where = f" {quoted_path(error.filename)}" if error.filename else ""
        sentence, exit_code, data = f"cannot use{where}: {error.strerror or error}", 2, {}
    else:
        sentence, exit_code, data = "interrupted", _INTERRUPTED, {}
    return Answer({"error": sentence, "exit_code": exit_code, **data}, "", exit_code), sentence


def _print(answer: Answer, *, as_json: bool) -> None:
    """Print an answer, in ASCII where it is for machines; a name never moves the cursor."""
    if as_json:
        import json

        text = json.dumps(answer.data, indent=2) + "\n"
    else:
        text = answer.text
    encoding = sys.stdout.encoding or "ascii"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()


class _Parser(argparse.ArgumentParser):
    """Refuses wrong usage as everything else is refused."""

    def error(self, message: str) -> NoReturn:
        raise ModelproofError(f"{message}; see {self.prog} --help")


def _parser(asked: str | None) -> argparse.ArgumentParser:
    """The parser of the command that is asked for, or that of all if there is no such command."""
    # Of a width, since finding out the terminal's would import much for each option.
    layout = partial(argparse.RawDescriptionHelpFormatter, width=_WIDTH)
    parser = _Parser(
        prog=_PROGRAM,
        description="What a model is, whether it is the one expected, and proofs of that.",
        epilog=_EPILOG,
        formatter_class=layout,
    )
    subparsers = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, prog=_PROGRAM
    )
    for name in (asked,) if asked in _COMMANDS else _COMMANDS:
        help_text, add_arguments = _COMMANDS[name]
        command = subparsers.add_parser(
            name, help=help_text, description=f"{help_text}.", formatter_class=layout
        )
        command.set_defaults(command=getattr(commands, name.replace("-", "_")))
        command.add_argument("--json", action="store_true", help="print the answer as JSON")
        add_arguments(command)
    return parser


def _identify(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument(
        "--non-finite", action="store_true", help="name the tensors that hold NaN or infinity too"
    )


def _manifest(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    _add_output(parser)


def _verify(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument("expected", metavar="EXPECTED", help="its manifest, or its identity (0x…)")
    _add_weights(parser, "the identity that the manifest must have, as it stands on chain")


def _compare(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument("other", metavar="OTHER", help="another model, or a manifest")


def _prove(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument("tensor", metavar="TENSOR", nargs="+", help="the tensors' names")
    _add_output(parser)


def _check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("proof", metavar="PROOF", help="what `prove` wrote")
    _add_weights(parser, "the identity of the model, as it stands on chain")


def _pack(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", help="a model with all that belongs to it")
    parser.add_argument("--output", metavar="FILE", required=True, help="the archive: a .tar file")


def _sign_bundle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a folder, or one file")
    parser.add_argument(
        "--key", metavar="FILE", required=True, help="private key in PEM (P-256, P-384 or P-521)"
    )
    parser.add_argument("--digest", choices=("sha256", "blake3"), default="sha256")
    parser.add_argument(
        "--shard-size", metavar="BYTES", type=int, help="digest files in shards of this size"
    )
    parser.add_argument(
        "--ignore",
        metavar="PATH",
        action="append",
        default=[],
        help="leave out a file or a folder, by its path from the top; git's always are",
    )
    parser.add_argument(
        "--follow-links", action="store_true", help="take a link to a file as that file"
    )
    _add_output(parser)


def _verify_bundle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a folder, or one file")
    parser.add_argument("bundle", metavar="BUNDLE", help="what `sign-bundle` wrote")
    parser.add_argument(
        "--key", metavar="FILE", required=True, help="the signer's public key in PEM"
    )


_COMMANDS: Final[dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]]] = {
    "identify": ("print what a model is: its identity and what that is made of", _identify),
    "manifest": ("write a model's manifest: every tensor and file with its digest", _manifest),
    "verify": ("tell whether a model is the expected one, and what differs if not", _verify),
    "compare": ("list the tensors and files in which two models differ", _compare),
    "prove": ("write a proof that tensors are part of a model", _prove),
    "check": ("tell whether a proof holds", _check),
    "pack": ("write a folder as one file of the same identity, which any tar unpacks", _pack),
    "sign-bundle": ("sign a model's files as OpenSSF Model Signing does", _sign_bundle),
    "verify-bundle": (
        "tell whether a model's files are those that a Model Signing bundle names",
        _verify_bundle,
    ),
}
"""What each command does, and what adds its arguments."""


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="see below")
    parser.add_argument(
        "--sha256", action="store_true", help="digest tensors by SHA-256 instead of BLAKE3"
    )
    parser.add_argument("--key", help="the entry of a torch checkpoint that is the state dict")
    parser.add_argument("--tensors", metavar="FILE", help="the file in a folder with the tensors")
    parser.add_argument(
        "--ignore",
        metavar="RULE",
        action="append",
        default=[],
        help="leave out files of a folder: a name, or a path from its top; * and ? as in a shell",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", metavar="FILE", help="write it there, and not to the terminal")


def _add_weights(parser: argparse.ArgumentParser, help_text: str) -> None:
    parser.add_argument("--weights", metavar="0x…", help=help_text)
