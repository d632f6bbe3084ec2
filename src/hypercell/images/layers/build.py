# SPDX-License-Identifier: Apache-2.0
"""`build_root`: open the files, let a sandboxed child do the work on them, publish the result."""

from __future__ import annotations

import dataclasses
import errno
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypercell.base.errors import HypercellError, Internal, NoSpace, NotFound
from hypercell.images.layers.contract import LayerSource, Limits, ProgressCallback, RootStats
from hypercell.images.layers.output import PendingFile
from hypercell.images.layers.write import chain_id
from hypercell.images.tar import LimitExceeded

_ROOT_MODE = 0o444


async def build_root(
    layers: Sequence[LayerSource],
    output: Path,
    limits: Limits | None = None,
    progress: ProgressCallback | None = None,
) -> RootStats:
    """Merge `layers`, lowest first, into one EROFS file at `output`, replacing what is there.

    The work takes a processor for about 0.3 s per 100 MB of archive, in a child process; this coroutine only waits.
    Cancelling it kills the child. Whatever happens, `output` is complete or untouched; after a crash of the daemon at
    the worst moment a file ending in `.partial` can stay beside it. Two builds of one chain give the same bytes, so
    they may race.

    Errors: `LayerError` (`MalformedArchive`, `LimitExceeded`, `DigestMismatch`), `NoSpace`, `NotFound` (a blob, or the
    directory of `output`, is missing), `Internal` (the child died without a word).
    """
    # Imported here, for the child imports this module and has no use for asyncio, half of its starting time.
    from hypercell.images.layers.process import run_child
    from hypercell.images.threads import in_thread

    limits = limits or Limits()
    chain_id([layer.diff_id for layer in layers])
    if len(layers) > limits.layers:
        raise LimitExceeded(f"an image of more than {limits.layers} layers")
    opened: list[int] = []
    try:
        pending = PendingFile(output)
    except OSError as error:
        raise _of_os(error) from error
    try:
        opened.extend(os.open(layer.blob, os.O_RDONLY | os.O_CLOEXEC) for layer in layers)
        with tempfile.TemporaryFile(dir=output.parent) as scratch:
            job = {
                "limits": dataclasses.asdict(limits),
                "layers": [(fd, layer.diff_id) for fd, layer in zip(opened, layers, strict=True)],
                "image": pending.fd,
                "scratch": scratch.fileno(),
            }
            stats = await run_child(job, (*opened, pending.fd, scratch.fileno()), layers, progress)
        await in_thread(pending.publish, _ROOT_MODE)
        return stats
    except OSError as error:
        raise _of_os(error) from error
    finally:
        pending.discard()
        for fd in opened:
            os.close(fd)


def _of_os(error: OSError) -> HypercellError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace("no space left for the image's root", "free space under the state directory")
    if isinstance(error, FileNotFoundError):
        return NotFound(f"{error.filename}: no such file", "pull or load the image again")
    return Internal(f"building the image's root: {error}")
