# SPDX-License-Identifier: Apache-2.0
"""The process that reads hostile layers: `python -m hypercell.images.layers.child`, started by `build_root`.

It gets its job as one JSON document on stdin, with the numbers of inherited descriptors in it, and answers on stdout
with one JSON document a line: `{"progress": [layer, bytes]}` …, then `{"stats": {…}}` or `{"error": {…}}`.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import sys
import threading
import traceback
from typing import Any

from hypercell.base.errors import HypercellError
from hypercell.images.layers import sandbox
from hypercell.images.layers.contract import Limits
from hypercell.images.layers.write import write_root
from hypercell.images.tar import LayerError

_SWITCH_SECONDS = 0.0005
"""How long a thread may hold the interpreter's lock: the read-ahead needs it briefly and often."""


def _describe(error: BaseException) -> dict[str, Any]:
    if isinstance(error, LayerError):
        where = {"member": error.member.hex(), "layer": error.layer}
        return {"kind": type(error).__name__, "message": error.rule, **where}
    if isinstance(error, HypercellError):
        return {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
    if isinstance(error, MemoryError):
        return {"kind": "LimitExceeded", "message": "needs more memory than a build may use", "member": "", "layer": -1}
    traceback.print_exception(error)  # to the daemon's log
    return {"kind": "Internal", "message": f"{type(error).__name__}: {error}"}


def main() -> int:
    job = json.load(sys.stdin.buffer)
    limits = Limits(**job["limits"])
    sandbox.enter(limits.memory_bytes, limits.cpu_seconds, limits.image_bytes)
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.disable()  # the tree has no cycles to find, and may have a million objects to look through
    lock = threading.Lock()

    def say(message: dict[str, Any]) -> None:
        with lock:
            os.write(1, json.dumps(message).encode() + b"\n")

    try:
        layers = [(os.fdopen(fd, "rb", buffering=0), diff_id) for fd, diff_id in job["layers"]]
        stats = write_root(
            layers, job["image"], job["scratch"], limits, lambda layer, read: say({"progress": [layer, read]})
        )
        say({"stats": dataclasses.asdict(stats)})
    except BaseException as error:
        say({"error": _describe(error)})
        return 1
    return 0


if __name__ == "__main__":
    # No tearing down of the interpreter: there is nothing that must be closed.
    os._exit(main())
