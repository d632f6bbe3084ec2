# SPDX-License-Identifier: Apache-2.0
"""The peers of one part of a run: opened on demand, closed behind it, and named when they have to be left out."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from bench.options import Options
from bench.peers import Dockerd, EngineApi, Gvisor, Hypercell, LeftOut, Runc

P = TypeVar("P", bound=EngineApi | Runc)


class Session:
    def __init__(self, directory: Path, options: Options, stack: contextlib.ExitStack) -> None:
        self.directory, self.options, self._stack = directory, options, stack
        self.left_out: dict[str, str] = {}
        """Peer: why."""

    def join(self, peer: P) -> P | None:
        """*peer*, running until the part ends; None when it cannot."""
        try:
            return self._stack.enter_context(peer)  # type: ignore[arg-type, return-value]
        except LeftOut as reason:
            self.left_out[peer.name] = str(reason)
            print(f"{peer.name}: left out, {reason}")
            return None

    def hypercell(self, way: str, **wanted: Any) -> Hypercell | None:
        return self.join(Hypercell(self.directory, way, **wanted))

    def dockerd(self) -> Dockerd | None:
        return self.join(Dockerd(Path(tempfile.mkdtemp(prefix="dockerd", dir=self.directory)) / "d"))

    def gvisor(self, dockerd: Dockerd | None) -> Gvisor | None:
        return self.join(Gvisor(dockerd)) if dockerd else None

    def runc(self) -> Runc | None:
        return self.join(Runc(self.directory / "runc"))


@contextlib.contextmanager
def session(options: Options) -> Iterator[Session]:
    directory = Path(tempfile.mkdtemp(prefix="hypercell-bench-"))
    directory.chmod(0o755)  # hypervisors are users of their own
    try:
        with contextlib.ExitStack() as stack:
            yield Session(directory, options, stack)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
