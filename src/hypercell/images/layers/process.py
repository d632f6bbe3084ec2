# SPDX-License-Identifier: Apache-2.0
"""The parent's side of the child process: start it, hear it out, believe nothing that does not fit."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from typing import Any

from hypercell.base.errors import HypercellError, Internal, NoSpace
from hypercell.images.layers.contract import LayerSource, ProgressCallback, RootStats
from hypercell.images.layers.write import chain_id
from hypercell.images.tar import DigestMismatch, LayerError, LimitExceeded, MalformedArchive

CHILD = ("-I", "-m", "hypercell.images.layers.child")
"""Arguments of the interpreter."""
_LINE_BYTES = 64 << 10
_TEXT = 1000
_LAYER_ERRORS: dict[str, type[LayerError]] = {
    error.__name__: error for error in (LayerError, MalformedArchive, LimitExceeded, DigestMismatch)
}


async def run_child(
    job: dict[str, Any], descriptors: Sequence[int], layers: Sequence[LayerSource], progress: ProgressCallback | None
) -> RootStats:
    """Start the child, pass on its progress, and return or raise what it says last."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *CHILD,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        pass_fds=descriptors,
        env={"LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "2"},
        limit=_LINE_BYTES,
    )
    assert child.stdin is not None and child.stdout is not None
    try:
        child.stdin.write(json.dumps(job).encode())
        child.stdin.close()
        answer = await _answer(child.stdout, len(layers), progress)
        code = await child.wait()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if answer is None:
        if code == -signal.SIGXCPU:
            raise LimitExceeded("takes longer to merge than a build may take")
        raise Internal(f"the process that builds the root ended without an answer (status {code})", "see the log")
    return _stats(answer, layers)


async def _answer(lines: asyncio.StreamReader, layers: int, progress: ProgressCallback | None) -> dict[str, Any] | None:
    """The child's last word. Should the child have been taken over, its words are as hostile as the layers."""
    while True:
        try:
            line = await lines.readline()
            if not line:
                return None
            message = json.loads(line)
            if not isinstance(message, dict):
                raise TypeError("not an object")
            if "progress" not in message:
                return message
            layer, read = (int(number) for number in message["progress"])
        except (ValueError, TypeError, RecursionError) as error:
            raise Internal("the process that builds the root speaks nonsense") from error
        if progress is not None and 0 <= layer < layers:
            progress(layer, read)


def _stats(answer: dict[str, Any], layers: Sequence[LayerSource]) -> RootStats:
    try:
        if "stats" in answer:
            stats = answer["stats"]
            content = tuple(int(size) for size in stats["layer_content_bytes"])
            if len(content) != len(layers):
                raise ValueError("not as many sizes as layers")
            return RootStats(
                chain_id=chain_id([layer.diff_id for layer in layers]),
                inodes=int(stats["inodes"]),
                content_bytes=int(stats["content_bytes"]),
                image_bytes=int(stats["image_bytes"]),
                disk_bytes=int(stats["disk_bytes"]),
                layer_bytes=tuple(int(size) for size in stats["layer_bytes"]),
                layer_content_bytes=content,
            )
        error = answer["error"]
        kind, message = str(error["kind"]), str(error["message"])[:_TEXT]
        if kind in _LAYER_ERRORS:
            problem: HypercellError = _LAYER_ERRORS[kind](message, bytes.fromhex(error["member"]), int(error["layer"]))
        elif kind == "NoSpace":
            problem = NoSpace(message, str(error["hint"])[:_TEXT])
        else:
            problem = Internal(f"building the image's root: {message}")
    except (KeyError, TypeError, ValueError) as error:
        raise Internal("the process that builds the root speaks nonsense") from error
    raise problem
