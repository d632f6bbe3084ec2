# SPDX-License-Identifier: Apache-2.0
"""Writes numbered lines into a log, in a process of its own that kills itself when it passes a given crash point.

python -m tests.support.log_writer DIRECTORY POINT COUNT KIND
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from hypercell.node.logs import Log, Rotation
from hypercell.node.output import RunOutput
from hypercell.node.types import Output
from tests.support.killable import die_at

LINES = 3000
LINE = 8
KINDS = {
    "plain": Rotation(3, 2000),
    "halves": Rotation(2, 1000),
    "packed": Rotation(4, 2000, compress=True),
    "none": Rotation(3, 2000),
}


def open_log(directory: Path, kind: str) -> Log:
    return Log(directory, KINDS[kind], kept=kind != "none")


def stream() -> bytes:
    """All that the program writes."""
    return b"".join(b"%07d\n" % number for number in range(LINES))


async def write(log: Log, most: int = LINES * LINE, settle: bool = False) -> None:
    """What the guest still has, from where the log ends, some lines at a time."""
    output = RunOutput(log)
    output.begin(1)
    data = stream()
    begin = output.lines[Output.STDOUT].written
    for offset in range(begin, min(len(data), begin + most), 10 * LINE):
        output.receive(Output.STDOUT, offset, data[offset : offset + 10 * LINE])
        assert output.store(Output.STDOUT) == min(len(data), offset + 10 * LINE)
        if settle and log._packing is not None:
            await asyncio.wrap_future(log._packing)


if __name__ == "__main__":
    die_at(sys.argv[2], int(sys.argv[3]))
    asyncio.run(write(open_log(Path(sys.argv[1]), sys.argv[4]), settle=True))
