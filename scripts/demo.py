"""The whole story, on a chain of its own, each step checked."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from scripts._cli import Ui, command
from scripts._story import MODEL_NAME, Story


@command("ape run demo")
def cli(ui: Ui) -> None:
    """Tell the whole story on MNIST in about a minute, on an Anvil of its own.

    Versions improve, a bad one is rolled back by the contract, an operator rolls back by hand, a
    prediction is verified first, and a tampered file is found out down to the tensor.
    """
    from ml.chain import models
    from ml.chain.policy import PRESETS
    from ml.chain.records import Role
    from ml.chain.session import connect
    from ml.storage.model_files import ModelFiles
    from ml.training.datasets import load_dataset

    begun = time.monotonic()
    with connect("local") as session, tempfile.TemporaryDirectory(prefix="demo-") as folder:
        dataset = load_dataset("mnist")
        registry = session.registry()
        owner = session.account(None, Role.ADMIN)
        model, _ = registry.create_model(
            MODEL_NAME,
            dataset.test_digest,
            PRESETS["thesis"],
            sender=owner,
            trainer=session.account(None, Role.TRAINER).address,
            validator=session.account(None, Role.VALIDATOR).address,
            operator=session.account(None, Role.OPERATOR).address,
        )
        named = models.NamedModel(model, MODEL_NAME, owner.address)
        story = Story(ui, session, registry, named, ModelFiles(Path(folder)), dataset)
        ui.say(f"A registry at {registry.address}, and {MODEL_NAME} with the policy 'thesis'.")
        story.tell()
        story.show(time.monotonic() - begun)
