"""Proofs that tensors are part of a model, and their form as JSON.

::

    {
      "format": "modelproof.inclusion.v1",
      "weights": "0x…",
      "identity": {
        "tree_root": "0x…", "tensor_count": 407, "total_bytes": 1082130432,
        "digest_algorithm": "BLAKE3", "files_root": "0x…"
      },
      "tensors": [{"name": "fc.weight", "dtype": "F32", "shape": [10, 64], "digest": "0x…"}],
      "siblings": ["0x…"],
      "flags": [false]
    }

``siblings`` and ``flags`` are what OpenZeppelin's ``multiProofVerify`` takes; of one tensor,
``siblings`` alone are what ``verify``, and so the registry's ``verifyTensor``, takes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from . import merkle, strict_json
from .entries import TensorEntry, WeightsIdentity
from .errors import InvalidEntry, MalformedProof, quoted
from .json_fields import bytes32, integer, list_of, object_of
from .manifest_json import read_algorithm, read_tensor, tensor_row
from .merkle import MultiProof

FORMAT: Final = "modelproof.inclusion.v1"


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """That one tensor is part of the weights with a given identity; ``verifyTensor`` takes it."""

    tensor: TensorEntry
    identity: WeightsIdentity
    siblings: tuple[bytes, ...]

    def verify(self, weights: bytes) -> bool:
        """Tell whether this proves that ``weights`` contain the tensor."""
        return self.identity.weights == weights and merkle.verify(
            self.identity.tree_root, self.tensor.leaf, self.siblings
        )


@dataclass(frozen=True, slots=True)
class TensorsProof:
    """That some tensors, one or many, are part of the weights with a given identity.

    They come in the order of their leaves, in which ``multiProofVerify`` takes them.
    """

    tensors: tuple[TensorEntry, ...]
    identity: WeightsIdentity
    siblings: tuple[bytes, ...]
    flags: tuple[bool, ...]

    def verify(self, weights: bytes) -> bool:
        """Tell whether this proves that ``weights`` contain the tensors."""
        leaves = tuple(tensor.leaf for tensor in self.tensors)
        return self.identity.weights == weights and merkle.verify_multiproof(
            self.identity.tree_root, MultiProof(leaves, self.siblings, self.flags)
        )

    def to_json(self) -> str:
        """Write the proof as JSON (ASCII, with a newline at the end)."""
        identity = self.identity
        document = {
            "format": FORMAT,
            "weights": _hex(identity.weights),
            "identity": {
                "tree_root": _hex(identity.tree_root),
                "tensor_count": identity.tensor_count,
                "total_bytes": identity.total_bytes,
                "digest_algorithm": identity.digest_algorithm.name,
                "files_root": _hex(identity.files_root),
            },
            "tensors": [tensor_row(tensor) for tensor in self.tensors],
            "siblings": list(map(_hex, self.siblings)),
            "flags": list(self.flags),
        }
        return json.dumps(document, indent=2) + "\n"

    @staticmethod
    def from_json(text: str | bytes) -> TensorsProof:
        """Read what ``to_json`` wrote; whether it proves anything is for ``verify`` to say.

        Raises:
            MalformedProof: it is anything else, or does not fit the identity that it states.
        """
        try:
            return _parse(text if isinstance(text, bytes) else text.encode())
        except (strict_json.StrictJsonError, InvalidEntry) as error:
            raise MalformedProof(str(error)) from None
        except UnicodeEncodeError:
            raise MalformedProof("it cannot be written as UTF-8") from None


def _parse(data: bytes) -> TensorsProof:
    keys = {"format", "weights", "identity", "tensors", "siblings", "flags"}
    document = object_of(strict_json.loads(data), "the document", keys)
    if document["format"] != FORMAT:
        raise MalformedProof(f"its format is {quoted(document['format'])}, not {FORMAT!r}")
    identity = _identity(document["identity"])
    if identity.weights != bytes32(document["weights"], '"weights"'):
        raise MalformedProof('its "weights" do not follow from its "identity"')
    flags = list_of(document["flags"], '"flags"')
    if not all(isinstance(flag, bool) for flag in flags):
        raise MalformedProof('its "flags" are not all true or false')
    return TensorsProof(
        tuple(map(read_tensor, list_of(document["tensors"], '"tensors"'))),
        identity,
        tuple(bytes32(node, "a sibling") for node in list_of(document["siblings"], '"siblings"')),
        tuple(map(bool, flags)),
    )


def _identity(value: object) -> WeightsIdentity:
    keys = {"tree_root", "tensor_count", "total_bytes", "digest_algorithm", "files_root"}
    fields = object_of(value, '"identity"', keys)
    return WeightsIdentity(
        bytes32(fields["tree_root"], "the tree's root"),
        integer(fields["tensor_count"], "the number of tensors"),
        integer(fields["total_bytes"], "the number of bytes"),
        read_algorithm(fields["digest_algorithm"]),
        bytes32(fields["files_root"], "the files' root"),
    )


def _hex(data: bytes) -> str:
    return f"0x{data.hex()}"
