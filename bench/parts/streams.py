# SPDX-License-Identifier: Apache-2.0
"""Megabytes that come through in a second: output to who is attached, logs, an exec's output, files by cp, a build.

What is carried is lines of text, as most output is: logs look at each.
"""

from __future__ import annotations

import contextlib
import io
import socket
import tarfile
import time
from collections.abc import Callable
from typing import Any

from bench.pacing import alternate
from bench.peers import EngineApi
from bench.peers.engine_api import IMAGE
from bench.peers.hypercell import TEMPLATE
from bench.session import Session
from bench.spread import spread

_LINE = "what a server did for somebody, and when, and how long it took: a line of a log as there are many"
_SCRIPT = f"yes '{_LINE}' | head -c $0 >/tmp/said; echo ready; read line; cat /tmp/said"
_READY = b"\1\0\0\0\0\0\0\6ready\n"
"""As it comes to who is attached."""
_BUILT = "streams:bench"


def measure(session: Session) -> dict[str, Any]:
    """{kind: {peer: {min, median, p99, samples}}}"""
    # gVisor's containers do not see what dockerd puts into their roots.
    peers = [peer for peer in (session.hypercell(TEMPLATE), session.dockerd()) if peer]
    running = {peer.name: peer.sleeper() for peer in peers}
    size = session.options.stream << 20
    archive, context = _archive(size), _archive(size, f"FROM {IMAGE}\nCOPY said /\n")

    def sample(peer: EngineApi) -> dict[str, float]:
        files = _files(peer, running[peer.name], archive, size)
        return _output(peer, size) | files | {"build": _build(peer, context, size)}

    taken = alternate(peers, max(2, session.options.rounds // 4), sample)
    kinds = next(iter(taken.values()))[0]
    return {kind: {peer: spread([one[kind] for one in samples]) for peer, samples in taken.items()} for kind in kinds}


def _output(peer: EngineApi, size: int) -> dict[str, float]:
    """Of a container that begins to talk when its client says so, and then of its log."""
    identifier = peer.engine.create(IMAGE, "sh", "-c", _SCRIPT, str(size), stdin=True, **peer.host)
    try:
        with contextlib.closing(peer.engine.attach(identifier)) as stream:
            peer.engine.start(identifier)
            assert _read(stream, len(_READY)) == _READY
            attached = _rate(size, lambda: _talk(stream, size))
        peer.engine.wait(identifier)
        logs = _rate(size, lambda: _get(peer, f"/containers/{identifier}/logs?stdout=1", size))
    finally:
        peer.engine.remove(identifier)
    return {"attach": attached, "logs": logs}


def _files(peer: EngineApi, identifier: str, archive: bytes, size: int) -> dict[str, float]:
    """In and out of a container that runs; and what an exec says of them."""
    path = f"/containers/{identifier}/archive?path=/tmp"
    into = _rate(size, lambda: peer.engine.call("PUT", path, raw=archive))
    out = _rate(size, lambda: _get(peer, f"{path}/said", size))
    wanted = {"Cmd": ["cat", "/tmp/said"], "AttachStdout": True}
    made = peer.engine.call("POST", f"/containers/{identifier}/exec", wanted)["Id"]
    said = _rate(size, lambda: _enough(peer.engine.call("POST", f"/exec/{made}/start", {}), size))
    return {"exec": said, "cp in": into, "cp out": out}


def _build(peer: EngineApi, context: bytes, size: int) -> float:
    """From a context to an image."""
    rate = _rate(size, lambda: _success(peer.engine.call("POST", f"/build?t={_BUILT}&nocache=1", raw=context)))
    peer.engine.call("DELETE", f"/images/{_BUILT}")
    return rate


def _success(told: bytes) -> None:
    assert b"Successfully tagged" in told, told.decode(errors="replace")[-1000:]


def _rate(size: int, work: Callable[[], object]) -> float:
    """MB/s."""
    began = time.perf_counter()
    work()
    return size / (time.perf_counter() - began) / 1e6


def _get(peer: EngineApi, path: str, size: int) -> None:
    _enough(peer.engine.call("GET", path), size)


def _enough(data: bytes, size: int) -> None:
    assert len(data) > size, f"{len(data)} bytes came, not {size} and their frames"


def _talk(stream: socket.socket, size: int) -> None:
    stream.sendall(b"go\n")
    count = 0
    while data := stream.recv(1 << 18):
        count += len(data)
    assert count > size, f"{count} bytes came, not {size} and their frames"


def _read(stream: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := stream.recv(size - len(data))):
        data += more
    return data


def _archive(size: int, dockerfile: str = "") -> bytes:
    """A tar with one file, and a Dockerfile if it is to be built of."""
    text = f"{_LINE}\n".encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        if dockerfile:
            member = tarfile.TarInfo("Dockerfile")
            member.size = len(dockerfile)
            tar.addfile(member, io.BytesIO(dockerfile.encode()))
        member = tarfile.TarInfo("said")
        member.size = size
        tar.addfile(member, io.BytesIO((text * (size // len(text) + 1))[:size]))
    return buffer.getvalue()
