# SPDX-License-Identifier: Apache-2.0
"""The daemon works where nobody else could have put something (C1 of docs/security.md)."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from hypercell.api.places import bind_socket, prepare
from hypercell.base.config import Config
from hypercell.base.errors import Internal


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return replace(Config(), root=tmp_path / "root", run=tmp_path / "run")


@pytest.mark.parametrize("place", ["root", "run"])
def test_a_directory_that_others_may_write_to_is_refused(config: Config, place: str) -> None:
    directory: Path = getattr(config, place)
    directory.mkdir()
    directory.chmod(0o777)
    with pytest.raises(Internal, match="others may write"):
        prepare(config)
    directory.chmod(0o711)
    prepare(config)
    if os.geteuid() == 0:
        os.chown(directory, 65534, -1)
        with pytest.raises(Internal, match="others may write"):
            prepare(config)


def test_another_users_directory_is_said_to_need_root(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(config)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1000)
    with pytest.raises(Internal, match="another user's: run hypercelld as root"):
        prepare(config)


def test_a_link_in_place_of_the_socket_is_replaced_and_not_followed(config: Config, tmp_path: Path) -> None:
    prepare(config)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    config.socket.symlink_to(victim)
    config.socket.with_suffix(".new").symlink_to(victim)
    bind_socket(config).close()
    assert config.socket.is_socket() and not config.socket.is_symlink()
    assert victim.read_text() == "precious"
    assert victim.stat().st_mode & 0o777 == 0o644
