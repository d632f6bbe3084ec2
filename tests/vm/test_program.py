# SPDX-License-Identifier: Apache-2.0
"""Which QEMU runs the VMs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypercell.base.errors import VmFailed
from hypercell.vm import program


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests change in a moment what on a machine changes once a year."""
    monkeypatch.setattr(program, "LASTS", 0.0)
    monkeypatch.setattr(program, "_chosen", {})


@pytest.fixture
def slim(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the slim one would be; every user may go there, as they may not to pytest's directories."""
    with tempfile.TemporaryDirectory(prefix="hypercell-test-") as name:
        Path(name).chmod(0o755)
        place = Path(name) / "qemu" / "bin" / "qemu-system-x86_64"
        monkeypatch.setattr(program, "SLIM", place)
        yield place


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only program on the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return make(tmp_path / "bin" / "qemu-system-x86_64")


def make(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_slim_one_is_taken_when_it_is_built(slim: Path, distribution: Path) -> None:
    assert program.choose() == program.Program(str(distribution), "the slim one is not built")
    make(slim)
    assert program.choose() == program.Program(str(slim), "slim")


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_one_that_hypervisors_cannot_reach_is_left_alone_and_named(slim: Path, distribution: Path, closed: int) -> None:
    make(slim)
    assert program.choose().path == str(slim)
    (slim, *slim.parents)[closed].chmod(0o700)
    chosen = program.choose()
    assert chosen.path == str(distribution)
    assert str(slim) in chosen.reason


def test_a_choice_is_made_anew_when_it_is_old(slim: Path, distribution: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "LASTS", 60.0)
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    assert program.choose().path == str(distribution)
    make(slim)
    now[0] = 59.0
    assert program.choose().path == str(distribution)
    now[0] = 60.0
    assert program.choose().path == str(slim)


def test_what_the_settings_name_is_taken(slim: Path, distribution: Path, tmp_path: Path) -> None:
    make(slim)
    other = make(tmp_path / "other" / "hypervisor")
    assert program.choose("qemu-system-x86_64").path == str(distribution)
    assert program.choose(str(other)).path == str(other)


def test_a_missing_one_is_told(slim: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for setting in ("auto", "no-such-hypervisor"):
        with pytest.raises(VmFailed) as caught:
            program.choose(setting)
        assert "install" in caught.value.hint
