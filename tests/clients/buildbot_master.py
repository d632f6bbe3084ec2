# SPDX-License-Identifier: Apache-2.0
"""A Buildbot master on a host of its own, whose workers are made by a docker engine. Its own commands speak to it."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.namespaces import Host

_PROGRAM = str(Path(sys.executable).with_name("buildbot"))
_PORT = 9989
_PATIENCE = 100.0

# Every step is one that a project's build has: files to the worker, commands there, files back to the master.
_CONFIG = """
from buildbot.plugins import changes, schedulers, steps, util, worker

TESTS = '''
import unittest

class Sums(unittest.TestCase):
    def test_one(self):
        self.assertEqual(sum([1, 2]), 3)
'''
factory = util.BuildFactory([
    steps.StringDownload(TESTS, workerdest="test_sums.py"),
    steps.ShellCommand(name="fresh", command=["sh", "-c", "test ! -e /root/built && touch /root/built"]),
    steps.ShellCommand(name="cache", command=["touch", util.Interpolate("/cache/%(prop:buildnumber)s")]),
    steps.ShellCommand(name="tests", command=["python3", "-m", "unittest", "-v", "test_sums"]),
    steps.ShellCommand(
        name="report", command=util.Interpolate("(uname -r; hostname; ls /cache) >report; exit %(prop:code)s"),
    ),
    steps.FileUpload(workersrc="report", masterdest=util.Interpolate("report-%(prop:buildnumber)s"), alwaysRun=True),
])
BuildmasterConfig = {{
    "workers": [worker.DockerLatentWorker(
        "vm", None, docker_host={engine!r}, image={image!r}, masterFQDN={address!r}, followStartupLogs=True,
        hostconfig={{"mem_limit": "256m"}}, volumes=["cache:/cache"],
    )],
    "protocols": {{"pb": {{"port": "tcp:{port}"}}}},
    "builders": [util.BuilderConfig(name="all", workernames=["vm"], factory=factory)],
    "schedulers": [schedulers.SingleBranchScheduler(
        name="all", builderNames=["all"], change_filter=util.ChangeFilter(branch="main"), treeStableTimer=None,
    )],
    "change_source": [changes.PBChangeSource()],
    "db": {{"db_url": "sqlite:///state.sqlite"}},
    "buildbotNetUsageData": None,
}}
"""


@dataclass(frozen=True, slots=True)
class Build:
    number: int
    result: int
    """0: success, 2: failure, 4: exception."""
    steps: dict[str, int]


class Master:
    def __init__(self, directory: Path, host: Host, process: subprocess.Popen[str]) -> None:
        self.directory, self._host, self._process = directory, host, process

    def build(self, exit_code: int = 0) -> Build:
        """Tell it of a change: the build that comes of it, when it has ended."""
        before = len(self._ended())
        command = [_PROGRAM, "sendchange", "--master", f"127.0.0.1:{_PORT}", "--branch", "main", "--who", "somebody"]
        self._host.run([*command, "--property", f"code:{exit_code}", "file"], capture_output=True)
        deadline = time.monotonic() + _PATIENCE
        while len(ended := self._ended()) == before:
            assert self._process.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.2)
        return ended[-1]

    def _ended(self) -> list[Build]:
        with contextlib.closing(sqlite3.connect(self.directory / "state.sqlite", timeout=20)) as database:
            rows = database.execute("SELECT id, number, results FROM builds WHERE complete_at NOT NULL ORDER BY id")
            return [Build(number, result, self._steps(database, build)) for build, number, result in rows.fetchall()]

    @staticmethod
    def _steps(database: sqlite3.Connection, build: int) -> dict[str, int]:
        rows = database.execute("SELECT name, results FROM steps WHERE buildid = ? ORDER BY number", (build,))
        return dict(rows.fetchall())

    def log(self) -> str:
        return (self.directory / "twistd.log").read_text()[-6000:]


@contextlib.contextmanager
def running_master(directory: Path, host: Host, engine: str, image: str) -> Iterator[Master]:
    """On *host*, with one latent worker: a container of *image* for each build."""
    subprocess.run([_PROGRAM, "create-master", "--config=master.cfg", str(directory)], check=True, capture_output=True)
    settings = {"engine": engine, "image": image, "address": host.theirs, "port": _PORT}
    (directory / "master.cfg").write_text(_CONFIG.format(**settings))
    log = directory / "twistd.log"
    process = host.popen(
        [_PROGRAM, "start", "--nodaemon", str(directory)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + _PATIENCE
        while not log.exists() or "BuildMaster is running" not in log.read_text():
            assert process.poll() is None and time.monotonic() < deadline, log.exists() and log.read_text()
            time.sleep(0.1)
        yield Master(directory, host, process)
    finally:
        process.terminate()
        process.wait(30)
