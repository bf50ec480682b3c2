"""The errors this project raises on purpose, and the exit codes they carry."""

from __future__ import annotations


class ModelproofError(Exception):
    """Something the caller can act on: one sentence saying what is wrong, where, and what to do.

    ``exit_code`` is what a script ends with: 2 for usage and environment. ``data`` is what a
    program needs to know besides the sentence, and is printed with ``--json``.
    """

    exit_code = 2

    def __init__(self, *arguments: object, data: dict[str, object] | None = None) -> None:
        super().__init__(*arguments)
        self.data = data if data is not None else {}


class NotVerified(ModelproofError):
    """The bytes, the record or the status is not what was claimed; scripts end with 1."""

    exit_code = 1
