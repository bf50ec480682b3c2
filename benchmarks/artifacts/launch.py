"""Run a command and print what it cost, as JSON: ``python -S launch.py COMMAND …``.

A process of its own, and a small one: the system counts the memory of the process that starts
another among the other's.
"""

import json
import os
import sys
import time


def main() -> None:
    """Run the command that the arguments are, its output thrown away."""
    began = time.perf_counter()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    to_nowhere = [(os.POSIX_SPAWN_DUP2, nowhere, 1)]
    process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=to_nowhere)
    _, status, usage = os.wait4(process, 0)
    cost = {
        "wall_s": time.perf_counter() - began,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1000,
    }
    print(json.dumps(cost))
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
