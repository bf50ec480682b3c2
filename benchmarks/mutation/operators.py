"""The ways in which a mutant differs from the code: small mistakes that a person could make."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Mutant:
    """One change of one place in a source file."""

    operator: str
    line: int
    start: int
    end: int
    replacement: str
    original: str

    def apply(self, source: str) -> str:
        """The source with the change made."""
        return source[: self.start] + self.replacement + source[self.end :]

    def __str__(self) -> str:
        def one_line(text: str) -> str:
            return " ".join(text.split())

        return f"{self.operator}: `{one_line(self.original)}` → `{one_line(self.replacement)}`"


_ROLES: Final = ("Admin", "Trainer", "Validator", "Operator")
_STATUSES: Final = ("Pending", "Passed", "Failed", "Discarded", "Revoked")
_VERDICTS: Final = (
    "FirstBest",
    "NewBest",
    "Plateau",
    "Dip",
    "Concern",
    "Contender",
    "Rejected",
    "BelowMinimum",
    "SevereDrop",
    "PatienceExhausted",
)
_REASONS: Final = (
    "RollbackLimit",
    "TargetReached",
    "Converged",
    "MaxIterations",
    "Overtraining",
    "Manual",
)

SWAPS: Final = {
    "comparison": {">=": ">", "<=": "<", ">": ">=", "<": "<=", "==": "!=", "!=": "=="},
    "arithmetic": {"+": "-", "-": "+"},
    "logic": {"&&": "||", "||": "&&"},
    "bits": {"&": "|", "|": "&", "<<": ">>", ">>": "<<", "|=": "&=", "&=": "|="},
    "constant": {"true": "false", "false": "true"},
}
"""Tokens and what takes their place, by the operator's name."""

ENUMS: Final = {
    "Role": _ROLES,
    "Status": _STATUSES,
    "Verdict": _VERDICTS,
    "CompletionReason": _REASONS,
}
"""Enums of which each member is taken for the next one."""

_TOKEN: Final = re.compile(
    r"\|=|&=|>>|<<|>=|<=|==|!=|&&|\|\||\+\+|--|\+=|-=|=>|[<>+\-&|]|\btrue\b|\bfalse\b"
)
_NUMBER: Final = re.compile(r"(?<![\w.\[])(\d+)(?![\w.\]])")
_MEMBER: Final = re.compile(r"\b(Role|Status|Verdict|CompletionReason)\.(\w+)\b")
_CALL: Final = re.compile(r"^[ \t]+(_\w+|emit \w+)\([^;{}]*\);", re.MULTILINE)
_GUARD: Final = re.compile(r"^[ \t]+if \([^;{}]*\)\s*revert \w[\w.]*\([^;]*\);", re.MULTILINE)
_BLOCK_GUARD: Final = re.compile(
    r"^[ \t]+if \([^;{}]*\) \{\s*revert \w[\w.]*\([^;]*\);\s*\}", re.MULTILINE
)
_BUILDER: Final = re.compile(r"\s*\.with(?:out|OneMore|OneLess|Next)?\w*\([^()]*(?:\(\))?\)")
_NEGATION: Final = re.compile(r"(?<![=!])[!~](?=[\w(])")
_ENCODE: Final = re.compile(r"abi\.encode\(")
_ASSIGNMENT: Final = re.compile(r"^[ \t]+[\w.]+(?:\[[^\];]+\])* [|&]?= [^;{}]*;", re.MULTILINE)


def mutants(source: str) -> list[Mutant]:
    """Every mutant of a Solidity source, in the order of their places."""
    code = _blank_out_prose(source)
    found = [
        Mutant(name, source.count("\n", 0, start) + 1, start, end, new, source[start:end])
        for name, start, end, new in _changes(code)
    ]
    return sorted(set(found), key=lambda mutant: (mutant.start, mutant.end, mutant.operator))


def _changes(code: str) -> Iterator[tuple[str, int, int, str]]:
    for match in _TOKEN.finditer(code):
        for name, swaps in SWAPS.items():
            if (new := swaps.get(match[0])) is not None:
                yield name, *match.span(), new
    for match in _NUMBER.finditer(code):
        yield "number", *match.span(), str(int(match[1]) + 1)
    for match in _MEMBER.finditer(code):
        members = ENUMS[match[1]]
        if match[2] in members:
            following = members[(members.index(match[2]) + 1) % len(members)]
            yield "member", *match.span(), f"{match[1]}.{following}"
    for match in _NEGATION.finditer(code):
        yield "negation", *match.span(), ""
    for pattern, name in (
        (_GUARD, "guard removed"),
        (_BLOCK_GUARD, "guard removed"),
        (_CALL, "call removed"),
        (_BUILDER, "step removed"),
        (_ASSIGNMENT, "assignment removed"),
    ):
        for match in pattern.finditer(code):
            yield name, *match.span(), ""
    for match in _ENCODE.finditer(code):
        for start, end in _arguments(code, match.end()):
            yield "argument removed", start, end, ""


def _arguments(code: str, start: int) -> Iterator[tuple[int, int]]:
    """The spans of a call's arguments, each with one comma beside it; none if there is but one."""
    depth, begins, commas = 0, start, list[int]()
    for place in range(start, len(code)):
        if code[place] in "([":
            depth += 1
        elif code[place] in ")]" and depth:
            depth -= 1
        elif code[place] == ")":
            break
        elif code[place] == "," and not depth:
            commas.append(place)
    else:
        return
    if not commas:
        return
    yield begins, commas[0] + 1
    for index, comma in enumerate(commas):
        yield comma, commas[index + 1] if index + 1 < len(commas) else place


def _blank_out_prose(source: str) -> str:
    """The source with comments, strings, imports and pragmas as blanks, so that places agree."""
    prose = r"//[^\n]*|/\*.*?\*/|\"[^\"\n]*\"|^(?:import|pragma)\b[^;]*;"

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match[0])

    return re.sub(prose, blank, source, flags=re.DOTALL | re.MULTILINE)
