# SPDX-License-Identifier: Apache-2.0
"""Buildbot's master, elsewhere on the network, has each of its builds in a VM of its own."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator

import pytest

from tests.clients.buildbot_master import Master, running_master
from tests.clients.conftest import WORKER, load
from tests.support.daemon import Daemon
from tests.support.namespaces import Host

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.timeout(400)]

# Settings come from the environment, as Buildbot's own image for latent workers has it.
TAC = """
import os
from buildbot_worker.bot import Worker
from twisted.application.service import Application

application = Application("worker")
master, port = os.environ["BUILDMASTER"], int(os.environ["BUILDMASTER_PORT"])
name, password = os.environ["WORKERNAME"], os.environ["WORKERPASS"]
Worker(master, port, name, password, "/worker", keepalive=600).setServiceParent(application)
"""
START = f"mkdir /worker && cat >/worker.tac <<'.'\n{TAC}.\nexec twistd3 --nodaemon --no_save --python=/worker.tac"
SUCCESS, FAILURE = 0, 2


@pytest.fixture(scope="module")
def worker(engine: Daemon) -> str:
    return load(engine, "worker", WORKER, f"CMD {json.dumps(['sh', '-c', START])}", "ENV LANG=C.UTF-8")


@pytest.fixture(scope="module")
def master(engine: Daemon, worker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Master]:
    directory = tmp_path_factory.mktemp("master")
    with (
        Host("master", "198.51.100.1", "198.51.100.2") as host,
        running_master(directory, host, engine.host, worker) as running,
    ):
        yield running


def until_gone(engine: Daemon) -> None:
    """Buildbot removes a worker after it has told how its build ended."""
    deadline = time.monotonic() + 60
    while found := engine.call("GET", "/containers/json?all=1")[1]:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def test_every_build_has_a_new_vm_and_nothing_of_it_stays(engine: Daemon, master: Master) -> None:
    names = ["worker_preparation", "string_download", "fresh", "cache", "tests", "report", "upload"]
    steps = dict.fromkeys(names, SUCCESS)
    succeeds = master.build()
    assert (succeeds.number, succeeds.result, succeeds.steps) == (1, SUCCESS, steps), master.log()
    fails = master.build(exit_code=3)
    assert (fails.number, fails.result, fails.steps) == (2, FAILURE, {**steps, "report": FAILURE}), master.log()
    reports = [(master.directory / f"report-{number}").read_text().split() for number in (1, 2)]
    assert reports[0][1] != reports[1][1], "each build is in a container of its own"
    assert platform.release() not in (report[0] for report in reports)
    assert [report[2:] for report in reports] == [["1"], ["1", "2"]], "a volume goes from build to build"
    assert "docker VM" in master.log(), "what the worker says while it starts"
    until_gone(engine)
