"""What a model is: its tensors and files, and the one 32-byte identity that stands for them.

The identity, ``weights``, is what a version commits to on chain. It does not depend on the format,
on the order of the tensors, on the file's name or on its metadata; it does depend on every name,
dtype, shape and byte.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from . import collector, manifest_json
from .digests import DigestAlgorithm
from .entries import OPAQUE_PATH, FileEntry, TensorEntry, WeightsIdentity
from .errors import InvalidEntry, MalformedManifest, UnknownTensor, quoted
from .manifest_json import ManifestFields
from .merkle import MerkleTree

if TYPE_CHECKING:
    from .proofs import InclusionProof, TensorsProof


class Manifest:
    """All tensors and files of a model, in the order of their names and paths; never changed.

    Raises:
        InvalidEntry: on construction, if a name or path occurs twice.
    """

    def __init__(
        self,
        tensors: Iterable[TensorEntry],
        files: Iterable[FileEntry] = (),
        digest_algorithm: DigestAlgorithm = DigestAlgorithm.BLAKE3,
        ignored: Iterable[str] = (),
    ) -> None:
        """Sort, so that equal models have equal manifests, and check what sorting shows."""
        self.tensors: Final = tuple(sorted(tensors, key=attrgetter("name")))
        self.files: Final = tuple(sorted(files, key=attrgetter("path")))
        self.digest_algorithm: Final = digest_algorithm
        self.ignored: Final = tuple(ignored)
        """The rules by which files were left out: a remark, which nobody who verifies obeys."""
        _check_unique([tensor.name for tensor in self.tensors], "tensor")
        _check_unique([file.path for file in self.files], "file")
        entries = len(self.tensors) + len(self.files)
        if entries > 1 and any(file.path == OPAQUE_PATH for file in self.files):
            raise InvalidEntry("a file that is the whole model has nothing beside it")

    def __eq__(self, other: object) -> bool:
        """Whether both describe the same model, by the same digests."""
        if not isinstance(other, Manifest):
            return NotImplemented
        return self._content == other._content

    def __hash__(self) -> int:
        return hash(self._content)

    def __repr__(self) -> str:
        return f"<Manifest of {self.tensor_count} tensors, {len(self.files)} files>"

    @property
    def _content(self) -> tuple[object, ...]:
        return self.tensors, self.files, self.digest_algorithm

    @property
    def is_opaque(self) -> bool:
        """Whether the model is one file whose inside has no reader here, as joblib's."""
        return len(self.files) == 1 and self.files[0].path == OPAQUE_PATH

    @cached_property
    def tree(self) -> MerkleTree:
        """The tree over the tensors' leaves."""
        return MerkleTree([tensor.leaf for tensor in self.tensors])

    @property
    def tree_root(self) -> bytes:
        """The root over the tensors: 32 bytes, zero if there are none."""
        return self.tree.root

    @property
    def tensor_count(self) -> int:
        """The number of tensors."""
        return len(self.tensors)

    @cached_property
    def total_bytes(self) -> int:
        """The size of all tensors together; files do not count."""
        return sum(tensor.nbytes for tensor in self.tensors)

    @cached_property
    def files_root(self) -> bytes:
        """The root over the files: 32 bytes, zero if there are none."""
        return MerkleTree([file.leaf for file in self.files]).root

    @cached_property
    def identity(self) -> WeightsIdentity:
        """The parts of the identity, as the contract takes them."""
        return WeightsIdentity(
            self.tree_root,
            self.tensor_count,
            self.total_bytes,
            self.digest_algorithm,
            self.files_root,
        )

    @cached_property
    def weights(self) -> bytes:
        """The model's identity: 32 bytes."""
        return self.identity.weights

    def tensor(self, name: str) -> TensorEntry:
        """Return the tensor of that name.

        Raises:
            UnknownTensor: there is none; the closest name is suggested.
        """
        entry = self._tensors_by_name.get(name)
        if entry is not None:
            return entry
        import difflib  # of no use to those who know their names

        close = difflib.get_close_matches(name, self._tensors_by_name, n=1)
        hint = f"did you mean {quoted(close[0])}?" if close else "check the name"
        raise UnknownTensor(f"this model has no tensor {quoted(name)}; {hint}")

    def proof(self, name: str) -> InclusionProof:
        """Return the proof that the model contains this tensor.

        Raises:
            UnknownTensor: there is no tensor of that name.
        """
        from .proofs import InclusionProof

        tensor = self.tensor(name)
        return InclusionProof(tensor, self.identity, tuple(self.tree.proof(tensor.leaf)))

    def proof_of(self, names: Iterable[str]) -> TensorsProof:
        """Return the proof that the model contains all these tensors.

        Raises:
            UnknownTensor: there is no tensor of a name.
            ArtifactError: none is named.
        """
        from .proofs import TensorsProof

        by_leaf = {tensor.leaf: tensor for tensor in map(self.tensor, names)}
        proof = self.tree.multiproof(by_leaf)
        tensors = tuple(by_leaf[leaf] for leaf in proof.leaves)
        return TensorsProof(tensors, self.identity, proof.siblings, proof.flags)

    @cached_property
    def _tensors_by_name(self) -> dict[str, TensorEntry]:
        return {tensor.name: tensor for tensor in self.tensors}

    def to_json(self) -> str:
        """Write the manifest as JSON, the same text for the same model: see ``manifest_json``."""
        return manifest_json.dumps(
            ManifestFields(
                self.tensors, self.files, self.digest_algorithm, self.weights, self.ignored
            )
        )

    @staticmethod
    def from_json(text: str | bytes) -> Manifest:
        """Read what ``to_json`` wrote; only white space and the order of keys and rows are free.

        Raises:
            MalformedManifest: anything else, also one whose identity is not that of its entries.
        """
        try:
            with collector.paused():
                parsed = manifest_json.loads(text)
                manifest = Manifest(
                    parsed.tensors, parsed.files, parsed.digest_algorithm, parsed.ignored
                )
        except InvalidEntry as error:
            raise MalformedManifest(str(error)) from None
        if manifest.weights != parsed.weights:
            raise MalformedManifest(
                f"it says that its identity is 0x{parsed.weights.hex()}, but its entries give"
                f" 0x{manifest.weights.hex()}"
            )
        return manifest


def _check_unique(sorted_names: Iterable[str], what: str) -> None:
    previous: str | None = None
    for name in sorted_names:
        if name == previous:
            raise InvalidEntry(f"{what} {quoted(name)} occurs twice")
        previous = name
