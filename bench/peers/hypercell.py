# SPDX-License-Identifier: Apache-2.0
"""A hypercelld of the run's own that reaches its VMs in one way: from the pool, from templates, or cold."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from bench import processes
from bench.engine import Engine, EngineError
from bench.pacing import at_once, settle
from bench.peers.engine_api import EngineApi, LeftOut
from hypercell.base.config import Config, built
from hypercell.vm.cgroups import CgroupTree
from hypercell.vm.records import HALF_MADE
from tests.support.daemon import Daemon
from tests.support.vm import hypervisors

POOL, TEMPLATE, COLD = "pool", "template", "cold"
EXECUTED = "cold, executed"
"""A boot in a hypervisor that was not forked of a zygote."""
OWN, DISTRIBUTION = "own", "distribution"
SLIM, DEBIAN = "slim", "debian"

PROGRAMS = {SLIM: str(built("qemu") / "bin" / "qemu-system-x86_64"), DEBIAN: "qemu-system-x86_64"}
_PATIENCE = 30.0
"""Seconds for a template to be made, or a VM to be put back into the pool."""
_POOLED_MIB = 64
"""Budget for one VM that waits, with room to spare."""
_numbers = itertools.count(1)


class Hypercell(EngineApi):
    def __init__(
        self, directory: Path, way: str, kernel: str = OWN, qemu: str = "", fill: int = 4, **settings: Any
    ) -> None:
        """*qemu* is `slim`, `debian`, or empty for what the daemon itself would take; *fill* is the pool's."""
        number = next(_numbers)
        self.name = called(way, kernel, qemu)
        self._way, self._kernel, self._qemu = (COLD if way == EXECUTED else way), kernel, qemu
        self.fill = fill if way == POOL else 0
        self._ended = False
        self.host: dict[str, Any] = {}
        self.daemon = Daemon(
            directory / f"hypercell{number}",
            kernel=kernel,
            bridge=f"hcb{number}",
            subnet=f"10.{200 + number % 50}.0.0/16",
            **({"qemu": PROGRAMS[qemu]} if qemu else {}),
            **_of_way(way, self.fill),
            **settings,
        )
        self.socket = self.daemon.socket

    def __enter__(self) -> Hypercell:
        if not (built("guest") / self._kernel / "vmlinux").exists():
            raise LeftOut(f"the {self._kernel} kernel is not built (make kernel)")
        if self._qemu == SLIM and not Path(PROGRAMS[SLIM]).exists():
            raise LeftOut("the slim QEMU is not built (make qemu)")
        try:
            self.daemon.start()
            self.engine = Engine(self.socket)
            self.import_image()
            self._warm()
        except EngineError as error:
            self.__exit__()
            raise LeftOut(str(error)) from error
        except BaseException:
            self.__exit__()
            raise
        return self

    def _warm(self) -> None:
        """Start containers until one goes the wanted way, and has a zygote if there are any."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            self.prepare()
            identifier = self.sleeper()
            trace = self.trace(identifier)
            self.engine.remove(identifier)
            way, note = str(trace.get("Way", "")), str(trace.get("Note", ""))
            if way in ("", self._way) and "zygote is being built" not in note:
                return
            if time.monotonic() > deadline:
                raise LeftOut(f"after {_PATIENCE:.0f} s starts still go {way} ({note}), not {self._way}")
            time.sleep(0.2)

    def __exit__(self, *_: object) -> None:
        if self._ended:
            return
        self._ended = True
        with contextlib.suppress(OSError, EngineError, AttributeError):  # destroy tries once more, one by one
            self.remove_all()
            self.engine.close()
        try:
            self.daemon.destroy()
        finally:
            # A daemon that was interrupted in the middle may leave VMs that nobody will ask for.
            for pid in hypervisors(Config(run=self.daemon.run)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for group in CgroupTree.of_host(self.daemon.run).directories("any"):
                with contextlib.suppress(OSError):
                    group.parent.rmdir()

    def leave(self) -> None:
        """End before the other peers do."""
        self.__exit__()

    def prepare(self) -> None:
        """Wait until the pool is as full as it was."""
        if self.fill:
            self.wait_for_spares(self.fill)

    def wait_for_spares(self, count: int) -> None:
        """Raises `LeftOut` when there are not so many in half a minute and a second for each."""
        deadline = time.monotonic() + _PATIENCE + count
        while (found := self.waiting()) < count:
            if time.monotonic() > deadline:
                raise LeftOut(f"{found} VMs wait, not {count}")
            time.sleep(0.05)
        settle()

    def waiting(self) -> int:
        """VMs of the pool that are ready."""
        lines = self.engine.call("GET", "/metrics").decode().splitlines()
        return sum(int(float(line.split()[-1])) for line in lines if line.startswith("hypercell_pool_vms"))

    def spares(self) -> list[int]:
        """Hypervisors that belong to no container, nor to a template."""
        taken = {int(self.engine.inspect(item["Id"])["State"]["Pid"]) for item in self._running()}
        return [pid for pid in self.hypervisors() if pid not in taken.union(self.templates())]

    def templates(self) -> list[int]:
        """Hypervisors that others are forked of."""
        marks = self.daemon.run.glob(f"vms/*/{HALF_MADE}")
        return [int(json.loads((mark.parent / "vm.json").read_text())["pid"]) for mark in marks]

    def _running(self) -> list[dict[str, Any]]:
        return [item for item in self.engine.list() if item["State"] == "running"]

    def hypervisors(self) -> list[int]:
        return [pid for pid in processes.children(self.daemon_pids()[0]) if processes.name(pid).startswith("qemu")]

    def way(self, identifier: str) -> str:
        return str(self.trace(identifier).get("Way", ""))

    def trace(self, identifier: str) -> dict[str, Any]:
        """Of the container's last start, as the daemon tells it."""
        return dict(self.engine.inspect(identifier).get("Hypercell", {}).get("Trace") or {})

    def daemon_pids(self) -> list[int]:
        assert self.daemon.process is not None
        return [self.daemon.process.pid]

    def container_pids(self, identifier: str) -> list[int]:
        return [int(self.engine.inspect(identifier)["State"]["Pid"])]

    def remove_all(self) -> None:
        known = [item["Id"] for item in self.engine.list()]

        def remove(number: int) -> None:
            with contextlib.closing(self.engine.twin()) as engine:
                engine.remove(known[number])

        if known:
            at_once(len(known), remove, limit=4)


def called(way: str, kernel: str = OWN, qemu: str = "") -> str:
    """The name of a peer in the result."""
    return ", ".join(word for word in (f"hypercell {way}", f"{kernel} kernel", qemu and f"{qemu} QEMU") if word)


def _of_way(way: str, fill: int) -> dict[str, Any]:
    """The settings that make a daemon take this way."""
    return {
        POOL: {"pool_fill": fill, "pool_memory": fill * _POOLED_MIB, "isolation": "shared"},
        TEMPLATE: {"pool_fill": 0, "pool_memory": 0, "isolation": "shared"},
        COLD: {"pool_fill": 0, "pool_memory": 0, "isolation": "cold"},
        EXECUTED: {"pool_fill": 0, "pool_memory": 0, "isolation": "cold", "forks": False},
    }[way]
