"""Run a function as a child process that ends when its parent does.

    python child.py MODULE:FUNCTION [ARGUMENT ...]

The parent holds the other end of standard input and writes nothing. However the parent ends, the
kernel closes that end, and the child sends itself SIGTERM: no orphan is left that keeps a port.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from typing import Final

__all__ = ["main"]

STDIN: Final = 0
CORES: Final = "SLOTMETER_CORES"  # of ``cores``, which a child does not load


def main() -> None:
    """Follow the parent, call the function, and exit with what it returns."""
    target, *arguments = sys.argv[1:]
    module, _, name = target.partition(":")
    sys.argv = [target, *arguments]
    _take_back_cores()
    threading.Thread(target=_follow_parent, name="parent", daemon=True).start()
    sys.exit(getattr(importlib.import_module(module), name)())


def _take_back_cores() -> None:
    """Run on all cores that the server was given, though it keeps to one of them itself."""
    given = os.environ.pop(CORES, "")
    if given:
        os.sched_setaffinity(0, [int(core) for core in given.split(",")])


def _follow_parent() -> None:
    # The bare descriptor: Python could not end while a thread waits in sys.stdin.
    while os.read(STDIN, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
