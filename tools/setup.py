"""Set the project up: `python3 tools/setup.py`, or `make setup`.

Runs on the system's Python with its standard library alone, makes the virtual environment and
node_modules from the lock files, and links the tools where Ape looks for them. A step is skipped
while its inputs are those it last succeeded with: its stamp holds their hash and lies in the folder
that the step makes, so that whoever removes the folder removes the stamp.
"""

import sys

if sys.version_info < (3, 11):  # before anything below that an older Python would stumble over
    sys.exit(
        "setup: Python %d.%d is too old: install Python 3.11 or newer and name it, as in"
        " `make setup PYTHON=python3.12`." % sys.version_info[:2]
    )

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
NODE_MODULES = ROOT / "node_modules"
LOG = ROOT / ".setup.log"
PYTHON_LOCK = ROOT / "requirements.lock"
TORCH_LOCK = ROOT / "requirements-torch.lock"
NPM_LOCK = ROOT / "package-lock.json"
MINIMUM_NODE = 20
SOLC_VERSION = "0.8.37"

# Python runs this line at each start in the virtual environment, activated or not. ape-foundry
# finds Anvil by PATH alone; py-solc-x would download a compiler that cannot see node_modules from
# where Ape compiles; and Ape's configuration has no way to give a variable a default.
ENVIRONMENT = (
    "import os, sys; "
    "b = os.path.join(sys.prefix, 'bin'); p = os.environ.get('PATH', os.defpath); "
    "os.environ['PATH'] = p if p.split(os.pathsep)[0] == b else b + os.pathsep + p; "
    "os.environ['SOLCX_BINARY_PATH'] = os.path.join(sys.prefix, 'solcx'); "
    "os.environ.setdefault('DEV_RPC_URL', 'http://127.0.0.1:8545')"
)


class SetupError(Exception):
    """One sentence for the user: what is wrong and what to do about it."""


def run(*command: str | Path) -> None:
    """Run ``command`` in the project's root, its output going to the log.

    Raises SetupError with the end of that output if it fails.
    """
    with LOG.open("a") as log:
        log.write(f"\n$ {' '.join(map(str, command))}\n")
        log.flush()
        done = subprocess.run(
            command, cwd=ROOT, check=False, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    if done.returncode != 0:
        tail = "\n".join(f"    {line}" for line in LOG.read_text().splitlines()[-25:])
        raise SetupError(f"a command failed; the end of {LOG.name}:\n{tail}")


def digest(*parts: str | Path) -> str:
    """Hash strings and the contents of files into one key."""
    state = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part.encode()
        state.update(len(data).to_bytes(8, "big") + data)
    return state.hexdigest()


def step(title: str, stamp: Path, key: str, action: Callable[[], str | None]) -> None:
    """Do ``action`` with a line of progress, unless ``stamp`` says that it was done for ``key``.

    What ``action`` returns, if anything, is a remark for the end of the line.
    """
    if stamp.is_file() and stamp.read_text() == key:
        return
    print(f"  {title:.<56} ", end="", flush=True)
    begun = time.monotonic()
    try:
        remark = action()
    except BaseException:
        print("failed", flush=True)
        raise
    stamp.write_text(key)
    print(f"{time.monotonic() - begun:5.1f} s{f'  ({remark})' if remark else ''}", flush=True)


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Hold a lock on this file: a second set-up beside this one waits, then finds all done."""
    with Path(__file__).open() as own:
        fcntl.flock(own, fcntl.LOCK_EX)
        yield


def check_node() -> None:
    """Raise SetupError unless Node.js and npm are there and new enough."""
    for program, name in (("node", "Node.js"), ("npm", "npm")):
        if shutil.which(program) is None:
            raise SetupError(f"{name} was not found: install Node.js {MINIMUM_NODE} or newer.")
    answer = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
    version = answer.stdout.strip()
    major = re.match(r"v(\d+)\.", version)
    if major is None or int(major[1]) < MINIMUM_NODE:
        raise SetupError(
            f"Node.js {version or '(unknown)'} is too old: install Node.js {MINIMUM_NODE} or newer."
        )


def make_venv() -> None:
    """Make the virtual environment, in place of one made elsewhere or by another Python."""
    if VENV.exists():
        shutil.rmtree(VENV)
    try:
        run(os.path.realpath(sys.executable), "-m", "venv", VENV)
    except SetupError as error:
        raise SetupError(
            f"{error}\nDebian and Ubuntu have Python's venv module in the package python3-venv."
        ) from None


def pip(command: str, *arguments: str | Path) -> None:
    """Run one of the virtual environment's pip commands.

    What is installed is compiled when it is first imported (``--no-compile``): most of it never is.
    """
    quiet = ("--no-input", "--disable-pip-version-check", "--progress-bar=off")
    run(VENV / "bin/python", "-m", "pip", command, *quiet, *arguments)


def install_python_packages() -> None:
    """Install what requirements.lock names, each file checked against its hashes."""
    try:
        pip("install", "--no-compile", "--no-deps", "--require-hashes", "-r", PYTHON_LOCK)
    except SetupError as error:
        if sys.version_info < (3, 13):
            raise
        raise SetupError(
            f"{error}\nNot all packages have builds for Python {platform.python_version()}: if that"
            " is the cause, `make setup PYTHON=python3.12` (or 3.11) helps."
        ) from None


def install_torch() -> str | None:
    """Install PyTorch: the build that pip finds here, with its dependencies as locked.

    Builds differ by machine (CPU, CUDA) and by index, so no single lock can require one hash. The
    registry's own builds must have a recorded hash; a build with a local version (`+cpu`) comes
    from an index that the user named, which vouches for it, and is remarked on if not recorded.
    """
    locked = TORCH_LOCK.read_text()
    wheels = VENV / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    pip("download", "--no-deps", "--dest", wheels, locked.split(maxsplit=1)[0])
    (wheel,) = wheels.glob("torch-*.whl")
    with wheel.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    recorded = f"sha256:{found}" in locked
    if not recorded and "+" not in wheel.name:
        raise SetupError(f"{wheel.name} has SHA-256 {found}, which {TORCH_LOCK.name} lacks.")
    constraints = VENV / "constraints.txt"
    pins = re.findall(r"^(\S+==.*?) *\\$", PYTHON_LOCK.read_text(), re.MULTILINE)
    constraints.write_text("\n".join(pins) + "\n")
    pip("install", "--no-compile", "--constraint", constraints, wheel)
    shutil.rmtree(wheels)
    return None if recorded else f"{wheel.name}: no hash on record"


def install_npm_packages() -> None:
    """Install what package-lock.json names, running no package's own install script."""
    run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")


def native_tool(name: str) -> Path:
    """Find a Foundry tool's native executable: its npm launcher hides exit codes and signals."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    package = f"@foundry-rs/{name}-{platform.system().lower()}-{machine}"
    binary = NODE_MODULES / package / "bin" / name
    if not binary.is_file():
        raise SetupError(f"npm did not install {package}: is there a {name} for this platform?")
    return binary


def link(name: Path, target: Path) -> None:
    """Make ``name`` a relative symbolic link to ``target``, and check that it runs."""
    name.parent.mkdir(exist_ok=True)
    name.unlink(missing_ok=True)
    name.symlink_to(os.path.relpath(target, name.parent))
    run(name, "--version")


def link_tools() -> None:
    """Put the tools, and the project itself, where Python and Ape look for them."""
    for tool in ("anvil", "forge"):
        link(VENV / "bin" / tool, native_tool(tool))
    link(VENV / "solcx" / f"solc-v{SOLC_VERSION}", ROOT / "tools/solc.js")
    base = {"base": str(VENV), "platbase": str(VENV)}
    site_packages = Path(sysconfig.get_path("purelib", "venv", base))
    (site_packages / "modelproof.pth").write_text(f"{ROOT}\n{ENVIRONMENT}\n")


def set_up() -> None:
    """Bring everything up to date, step by step."""
    check_node()
    LOG.unlink(missing_ok=True)
    python = digest(str(ROOT), sysconfig.get_python_version())
    python_lock, torch_lock, npm_lock = map(digest, (PYTHON_LOCK, TORCH_LOCK, NPM_LOCK))
    step("virtual environment", VENV / ".stamp-venv", python, make_venv)
    step("Python packages", VENV / ".stamp-python", python_lock, install_python_packages)
    step("PyTorch", VENV / ".stamp-torch", torch_lock, install_torch)
    step("npm packages", NODE_MODULES / ".stamp-npm", npm_lock, install_npm_packages)
    step("links to the tools", VENV / ".stamp-links", digest(Path(__file__)), link_tools)


def main() -> int:
    """Set up and return the exit code."""
    try:
        with one_at_a_time():
            set_up()
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("setup: interrupted; run it again to go on from there.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
