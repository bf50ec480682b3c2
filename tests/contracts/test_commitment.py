"""What Python says a version commits to is what the contract says."""

from __future__ import annotations

import random

from ml.chain.commitment import commitment, details_hash, matches
from ml.chain.records import Details

from .story import TEST_SET, Story

TEXTS = ("", "{}", '{"note": "é 名 \\u0000"}', "x" * 31, "x" * 32, "x" * 33, "y" * 16_384)


def random_details(dice: random.Random, due: Details) -> Details:
    stored, content, updates = (
        dice.choice((bytes(32), b"\xff" * 32, dice.randbytes(32))) for _ in range(3)
    )
    contributors = dice.choice((0, 1, 1 << 255, 1 << 255 | 1))
    return Details(due.parent, due.iteration, due.epoch, stored, content, updates, contributors)


def test_commitments_of_any_registrations_are_those_that_python_computes(story: Story) -> None:
    dice = random.Random(0)
    trainer = story.cast.trainer
    story.enrol(0)
    story.enrol(255)
    for version in range(1, 22):
        details = random_details(dice, story.due())
        weights, metadata = dice.randbytes(32), TEXTS[version % len(TEXTS)]
        receipt = story.registry.register(
            story.id, version, weights, details, metadata, sender=trainer
        )
        hashed = details_hash(story.id, version, trainer.address, details, metadata)
        full = commitment(TEST_SET, weights, hashed)
        ((_, told),) = story.log(receipt)
        assert told["commitment"] == full
        recorded = story.registry.version(story.id, version).commitment
        assert matches(recorded, full)
        assert story.registry.verify_weights(story.id, version, weights, hashed)
        story.discard()
