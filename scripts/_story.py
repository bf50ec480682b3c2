"""The demo's story of one model, each step checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.errors import NotVerified
from scripts._cli import Ui
from scripts._versions import as_data, show

if TYPE_CHECKING:
    from ml.chain.models import NamedModel
    from ml.chain.publishing import Validation
    from ml.chain.registry import ModelRegistry
    from ml.chain.session import Session
    from ml.storage.model_files import ModelFiles
    from ml.training.datasets import Dataset

MODEL_NAME = "mnist-cnn"
_FEW, _SOME = 5_000, 20_000
_SAMPLE = 0
_REASON = "Suspected model poisoning from client_3"
_NEXT = """
What to try next:
  make node                                in a second shell: a chain that lasts
  ape run deploy
  ape run train mnist --architecture cnn
  ape run history mnist-cnn
  ape run tamper artifacts/mnist-cnn/v1-*.safetensors
  ape run verify artifacts/mnist-cnn/tampered-v1-*.safetensors"""


@dataclass
class Story:
    """The steps; each checks what it claims, and ends the demo where that does not hold."""

    ui: Ui
    session: Session
    registry: ModelRegistry
    model: NamedModel
    files: ModelFiles
    dataset: Dataset
    checks: list[str] = field(default_factory=list)

    def tell(self) -> None:
        """From the first version to the tampered file."""
        from ml.chain.types import Verdict

        first = self._version(_first(self.dataset, _FEW), f"learns from {_FEW:,} images")
        self._check(first.judgement.verdict is Verdict.FIRST_BEST, "v1 is the first best version")
        second = self._version(self.dataset, "goes on with all 60,000")
        self._check(second.judgement.verdict is Verdict.NEW_BEST, "v2 is better, and current")
        poisoned = self._version(_mislabelled(self.dataset, _FEW), "is poisoned: wrong labels")
        self._check(
            poisoned.judgement.verdict is Verdict.SEVERE_DROP and self._current() == 2,
            "the contract rolled v3 back to v2",
        )
        self._version(_first(self.dataset, _SOME), f"goes on from v2 with {_SOME:,} images")
        self._check(self._current() == 4, "v4 is current")
        self._roll_back()
        self._predict()
        self._tamper()
        self._prove()

    def show(self, seconds: float) -> None:
        """The table, what was checked, and what to try next."""
        from ml.chain import history

        whole = history.read(self.registry, self.model.id)
        self.ui.say("")
        show(self.ui, whole.model, whole.rows)
        self.ui.say("")
        for happening in whole.happenings:
            self.ui.say(f"block {happening.block}: {happening.sentence}")
        self.ui.say("")
        self.ui.say(f"All {len(self.checks)} checks hold ({seconds:.0f} s).", style="green")
        for line in _NEXT.splitlines():
            self.ui.say(line)
        self.ui.result(
            {
                "checks": self.checks,
                "seconds": round(seconds, 1),
                "versions": [as_data(row) for row in whole.rows],
                "events": [h.sentence for h in whole.happenings],
            }
        )

    def _version(self, samples: Dataset, what: str) -> Validation:
        """Train on samples from the current version on, register, validate on the test set."""
        from ml.chain.publishing import pending
        from ml.chain.records import Role
        from ml.training import versions
        from ml.training.progress import training_bar
        from ml.training.recipes import RECIPES
        from ml.training.train import train

        begun = versions.start(self.registry, self.model, self.files)
        number = begun.turn.version
        with training_bar(f"v{number} {what}", self.ui.err) as progress:
            trained = train(
                RECIPES[MODEL_NAME],
                samples,
                seed=number,
                epochs=1,
                parent=begun.parent.classifier if begun.parent else None,
                progress=progress,
            )
        trainer = self.session.account(None, Role.TRAINER)
        versions.register_trained(
            self.registry, self.model, self.files, begun, trained, sender=trainer
        )
        validation = versions.validate_trained(
            self.registry,
            self.model,
            self.files,
            pending(self.registry, self.model, number),
            self.dataset,
            sender=self.session.account(None, Role.VALIDATOR),
        )
        self.ui.say(f"v{number} {what}: {validation.sentence}.")
        return validation

    def _roll_back(self) -> None:
        from ml.chain.records import Role

        operator = self.session.account(None, Role.OPERATOR)
        self.registry.rollback(self.model.id, 2, _REASON, sender=operator)
        self.ui.say(f"An operator rolls back to v2: {_REASON}.")
        self._check(self._current() == 2, "v2 is current again")
        found = self._identified(4)
        self._check(
            not found.on_active_line and "rolled back from" in found.standing(),
            "v4 still verifies, as rolled back from",
        )

    def _predict(self) -> None:
        from ml.chain.verification import Requirement
        from ml.training import versions
        from ml.training.predict import input_from_test_set, predict

        found, loaded = versions.load_good(
            self.registry, self.model, self.files, None, Requirement.CURRENT
        )
        inputs = input_from_test_set(self.dataset.test_part, _SAMPLE)
        (prediction,) = predict(loaded.classifier, inputs, self.dataset.class_names)
        truth = self.dataset.class_names[int(self.dataset.test_labels[_SAMPLE])]
        self.ui.say(
            f"v{found.version.number} is verified, loaded and asked: test image {_SAMPLE} is a"
            f" {prediction.class_name}."
        )
        self._check(prediction.class_name == truth, "the verified model reads the image right")

    def _tamper(self) -> None:
        from ml.artifact import compare, read_manifest
        from ml.artifact.tampering import tamper

        original = self._file(2)
        manifest = read_manifest(original)
        target = manifest.tensors[-1].name
        copy = original.with_name("tampered.safetensors")
        tamper(original, copy, target)
        found = [difference.name for difference in compare(manifest, read_manifest(copy))]
        self.ui.say(f"One bit of a copy of v2 is flipped: {', '.join(found)} differs.")
        self._check(found == [target], "exactly the tampered tensor is named")
        self._check(
            self._raises(lambda: self._load(copy)), "the tampered file is refused before it loads"
        )

    def _prove(self) -> None:
        from ml.artifact import read_manifest
        from ml.chain import commitment

        record = self._identified(2).registered
        manifest = read_manifest(self._file(2))
        details = commitment.details_hash(
            record.model, record.version, record.registrar, record.details, record.metadata
        )
        proof = manifest.proof(manifest.tensors[0].name)
        self.ui.say(f"The contract itself checks that v2 holds the tensor {proof.tensor.name}.")
        self._check(
            self.registry.verify_tensor(self.model.id, 2, details, proof),
            "the contract accepts the proof of one tensor",
        )

    def _check(self, holds: bool, claim: str) -> None:
        if not holds:
            raise NotVerified(f"the demo's claim does not hold: {claim}.")
        self.checks.append(claim)

    def _current(self) -> int:
        return self.registry.model(self.model.id).state.current

    def _identified(self, number: int) -> Any:
        from ml.training import versions

        return versions.numbered(self.registry, self.model, number)

    def _file(self, number: int) -> Path:
        stored = self.files.find(self._identified(number).registered.weights)
        if stored is None:
            raise NotVerified(f"the file of v{number} is gone.")
        return stored.artifact

    def _load(self, path: Path) -> None:
        from ml.artifact import load_verified

        load_verified(path, self._identified(2).registered.weights)

    @staticmethod
    def _raises(action: Callable[[], None]) -> bool:
        try:
            action()
        except NotVerified:
            return True
        return False


def _first(dataset: Dataset, count: int) -> Dataset:
    """The data set with only its first training samples."""
    from dataclasses import replace

    return replace(
        dataset,
        train_inputs=dataset.train_inputs[:count],
        train_labels=dataset.train_labels[:count],
    )


def _mislabelled(dataset: Dataset, count: int) -> Dataset:
    """The first training samples with every label one too high."""
    from dataclasses import replace

    few = _first(dataset, count)
    return replace(few, train_labels=(few.train_labels + 1) % len(dataset.class_names))
