"""See whether chain, index, journal, records and stores agree."""

from __future__ import annotations

from scripts._cli import Ui, command
from scripts._index import index_option
from scripts._stores import open_places, stores_option


@command("ape run fsck --store objects")
@stores_option
@index_option
def cli(ui: Ui, places: tuple[str, ...], place: str | None) -> None:
    """Hold chain, index, journal, records and stores against each other; report what disagrees.

    The code of recorded contracts, every model's history against its head, the log against its
    root, every row of the index, every entry of the journal, what recorders of batches took, and
    with --store every object that a version names. Nothing is mended. Ends with 1 if anything
    disagrees.
    """
    from ml.chain.fsck.disagreement import Place
    from ml.chain.fsck.everything import check
    from ml.errors import NotVerified
    from ml.training.named_objects import objects_of

    opened = open_places(places) if places else None
    with ui.connect() as session:
        found = list(check(session, index=place, places=opened, named=objects_of))
        data: dict[str, object] = {
            "disagreements": [
                {"place": one.place, "what": one.what, "which": one.which, "why": one.why}
                for one in found
            ]
        }
        if found:
            ui.table(
                ["place", "what", "which", "why"],
                [[one.place, one.what, one.which, one.why] for one in found],
            )
            first = found[0]
            count = f"{len(found)} disagreements, first" if len(found) > 1 else "1 disagreement"
            raise NotVerified(
                f"{count}: {first.what} in the {first.place}, {first.which}.", data=data
            )
        without = [] if places else [Place.STORE]
        ui.say(f"{', '.join(p for p in Place if p not in without)}: no disagreement.", "green")
        if without:
            ui.note("No store was looked at: name them with --store.")
        ui.result(data)
