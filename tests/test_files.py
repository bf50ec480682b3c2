"""Replacing files: the old one or the new one, whatever happens in between."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from ml.files import replacing, write_bytes, write_text

OLD = b"old"

# Writes half of a new file in `replacing`, says so, and waits.
HALFWAY = """
import sys, time
from pathlib import Path
from ml.files import replacing

with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half of what was to")
    print("halfway", flush=True)
    time.sleep(60)
"""
# Writes more than a process may: what a full disk does, on any disk.
TOO_MUCH = """
import resource, signal, sys
from pathlib import Path
from ml.files import write_bytes

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_bytes(Path(sys.argv[1]), bytes(100_000))
except OSError:
    sys.exit(3)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(OLD)
    return path


def test_replacing_puts_the_new_file_in_the_old_ones_place(file: Path) -> None:
    with replacing(file) as temporary:
        temporary.write_bytes(b"new")
        assert file.read_bytes() == OLD
    assert file.read_bytes() == b"new"
    assert list(file.parent.iterdir()) == [file]


def test_replacing_makes_missing_folders(tmp_path: Path) -> None:
    path = tmp_path / "some" / "where" / "text.json"
    write_text(path, "für immer")
    assert path.read_bytes() == "für immer".encode()


def test_temporary_file_has_the_suffix_by_which_its_format_is_known(file: Path) -> None:
    with replacing(file) as temporary:
        assert temporary.suffix == ".safetensors"
        assert temporary.parent == file.parent


def test_new_file_is_readable_by_others(file: Path) -> None:
    write_bytes(file, b"new")
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_exception_leaves_the_old_file_and_nothing_else(file: Path) -> None:
    with suppress(KeyboardInterrupt), replacing(file) as temporary:
        temporary.write_bytes(b"half of what was to")
        raise KeyboardInterrupt
    assert list(file.parent.iterdir()) == [file]
    assert file.read_bytes() == OLD


def test_block_that_takes_the_temporary_file_away_leaves_the_old_file(file: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(file) as temporary:
        temporary.unlink()
    assert list(file.parent.iterdir()) == [file]
    assert file.read_bytes() == OLD


def kill_a_writer_of(file: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HALFWAY, str(file)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "halfway\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def test_process_killed_while_writing_leaves_the_old_file(file: Path) -> None:
    kill_a_writer_of(file)
    assert file.read_bytes() == OLD


def test_what_a_killed_process_left_behind_is_hidden_and_in_nobodys_way(file: Path) -> None:
    kill_a_writer_of(file)
    (left,) = [path for path in file.parent.iterdir() if path != file]
    assert left.name.startswith(".")
    write_bytes(file, b"new")
    assert file.read_bytes() == b"new"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits file sizes as Linux does")
def test_disk_that_takes_no_more_leaves_the_old_file_and_nothing_else(file: Path) -> None:
    done = subprocess.run([sys.executable, "-c", TOO_MUCH, str(file)], check=False)
    assert done.returncode == 3
    assert list(file.parent.iterdir()) == [file]
    assert file.read_bytes() == OLD
