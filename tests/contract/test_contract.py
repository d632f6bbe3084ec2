# SPDX-License-Identifier: Apache-2.0
"""hypercell answers as dockerd does, but for the differences that are listed; and the list and the records are true."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.compare import Found, differences
from tests.contract.differences import stale, unlisted
from tests.contract.engines import REFERENCE, play, recorded
from tests.contract.record import version_of
from tests.contract.scenarios import SCENARIOS
from tests.contract.table import PAGE, replaced
from tests.support.daemon import running
from tests.support.dockerd import DockerdProcess, Unavailable, running_dockerd

GUEST = ("builds", "contents", "execs", "files", "states", "streams")
"""Modules whose answers a guest gives: they are played in real VMs, all others with fake ones."""


class Answers:
    """hypercell's, asked for once."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._found: dict[str, list[Found]] = {}

    def differences(self, name: str) -> list[Found]:
        if name not in self._found:
            self._found[name] = list(differences(name, recorded(name), play(name, self._socket)))
        return self._found[name]


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answers]:
    with running(tmp_path_factory.mktemp("fake") / "d", driver="fake") as daemon:
        yield Answers(daemon.socket)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answers]:
    directory = tmp_path_factory.mktemp("real")
    for path in (directory, directory.parent):
        path.chmod(0o755)  # hypervisors are users of their own
    # Beside the one with the fake guests.
    with running(directory / "d", bridge="hccontract", subnet="172.30.0.0/16") as daemon:
        yield Answers(daemon.socket)


@pytest.fixture(scope="module")
def dockerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerdProcess]:
    try:
        with running_dockerd(tmp_path_factory.mktemp("dockerd") / "d") as process:
            if version_of(process.socket) != json.loads(REFERENCE.read_text()):
                pytest.skip("this machine's dockerd is not the recorded one")
            yield process
    except Unavailable as reason:
        pytest.skip(f"dockerd: {reason}")


def _of_guests(wanted: bool) -> list[str]:
    return [name for name in SCENARIOS if (name.partition(".")[0] in GUEST) == wanted]


def _told(found: list[Found]) -> str:
    return "\n".join(map(str, found))


@pytest.mark.parametrize("name", _of_guests(False))
def test_hypercell_answers_as_dockerd_does(fake: Answers, name: str) -> None:
    found = unlisted(fake.differences(name))
    assert not found, _told(found)


@pytest.mark.vm
@pytest.mark.parametrize("name", _of_guests(True))
def test_a_guest_answers_as_dockerds_containers_do(real: Answers, name: str) -> None:
    found = unlisted(real.differences(name))
    assert not found, _told(found)


@pytest.mark.vm
def test_every_listed_difference_is_still_one(fake: Answers, real: Answers) -> None:
    found = [item for name in _of_guests(False) for item in fake.differences(name)]
    found += [item for name in _of_guests(True) for item in real.differences(name)]
    assert stale(found) == []


@pytest.mark.root
@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_recorded_is_what_dockerd_answers(dockerd: DockerdProcess, name: str) -> None:
    found = list(differences(name, recorded(name), play(name, dockerd.socket)))
    assert not found, "renew it with `python -m tests.contract.record`:\n" + _told(found)


def test_the_page_tells_every_listed_difference() -> None:
    assert PAGE.read_text() == replaced(PAGE.read_text()), "renew it with `python -m tests.contract.table`"


def test_each_recorded_answer_belongs_to_a_scenario() -> None:
    kept = [
        name for path in REFERENCE.parent.glob("*.json") if path != REFERENCE for name in json.loads(path.read_text())
    ]
    assert sorted(kept) == sorted(SCENARIOS)
