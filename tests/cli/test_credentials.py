# SPDX-License-Identifier: Apache-2.0
"""Credentials are docker's: found where its client keeps them, kept where it finds them, sent to nobody else."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import click
import pytest

from hypercell.cli import credentials
from tests.support.command import ends_with

HOST = "x.test:5000"
PACKED = base64.b64encode(b"me:se:cret").decode()
MINE = {"username": "me", "password": "se:cret", "serveraddress": HOST}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    (tmp_path / "docker").mkdir()
    return tmp_path


def write(home: Path, settings: object) -> None:
    (home / "docker" / "config.json").write_text(json.dumps(settings))


def read(home: Path) -> dict[str, object]:
    loaded: dict[str, object] = json.loads((home / "docker" / "config.json").read_text())
    return loaded


def helper(home: Path) -> None:
    """A credential helper `box`, which keeps one secret in a file."""
    (home / "bin").mkdir()
    program = home / "bin" / "docker-credential-box"
    program.write_text(
        f"""#!/bin/sh
kept={home}/kept
case $1 in
store) cat > $kept ;;
get) [ -e $kept ] && cat $kept || {{ echo credentials not found in native keychain; exit 1; }} ;;
erase) rm -f $kept ;;
esac
"""
    )
    program.chmod(0o755)


@pytest.mark.parametrize("key", [HOST, f"https://{HOST}", f"http://{HOST}/v1/"])
def test_what_docker_has_kept_is_found(home: Path, key: str) -> None:
    write(home, {"auths": {"other.test": {"auth": "eDp5"}, key: {"auth": PACKED}}})
    assert credentials.find(HOST) == MINE
    assert credentials.find("nobody.test") == {}
    sent = credentials.header(f"{HOST}/box")["X-Registry-Auth"]
    assert json.loads(base64.urlsafe_b64decode(sent)) == MINE
    assert credentials.header("nobody.test/box") == credentials.header("box") == {}


def test_a_name_without_a_host_means_the_default_registry(home: Path) -> None:
    write(home, {"auths": {credentials.key_of(""): {"auth": PACKED}}})
    assert credentials.find("")["username"] == "me"
    assert credentials.header("box") == credentials.header("library/box") == credentials.header("docker.io/box") != {}
    assert credentials.header("localhost/box") == credentials.header("x.test/box") == {}


def test_what_is_kept_leaves_the_rest_as_it_was_and_is_for_its_owner_alone(home: Path) -> None:
    write(home, {"auths": {"other.test": {"auth": "eDp5"}}, "detachKeys": "ctrl-a"})
    file = credentials.keep(MINE)
    assert file == home / "docker" / "config.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read(home) == {"auths": {"other.test": {"auth": "eDp5"}, HOST: {"auth": PACKED}}, "detachKeys": "ctrl-a"}
    assert credentials.find(HOST) == MINE
    assert credentials.forget(HOST)
    assert not credentials.forget(HOST)
    assert read(home) == {"auths": {"other.test": {"auth": "eDp5"}}, "detachKeys": "ctrl-a"}
    assert [path.name for path in (home / "docker").iterdir()] == ["config.json"]


def test_an_identity_token_takes_the_place_of_the_password(home: Path) -> None:
    credentials.keep({**MINE, "identitytoken": "t"})
    assert credentials.find(HOST) == {**MINE, "password": "", "identitytoken": "t"}
    assert "cret" not in base64.b64decode(read(home)["auths"][HOST]["auth"]).decode()  # type: ignore[index]


@pytest.mark.parametrize("settings", [{"credsStore": "box"}, {"credHelpers": {HOST: "box"}}])
def test_a_helper_keeps_the_secret_instead_of_the_file(home: Path, settings: dict[str, object]) -> None:
    helper(home)
    write(home, settings)
    assert credentials.find(HOST) == {}
    assert credentials.keep(MINE) is None
    assert read(home) == {**settings, "auths": {HOST: {}}}
    assert credentials.find(HOST) == MINE
    credentials.keep({**MINE, "identitytoken": "t"})
    assert credentials.find(HOST) == {"identitytoken": "t", "serveraddress": HOST}
    assert credentials.forget(HOST)
    assert credentials.find(HOST) == {}


@pytest.mark.parametrize(
    "settings",
    [
        [],
        {"auths": {HOST: {"auth": "%"}}},
        {"credsStore": "../x"},
        {"credsStore": "nosuchprogram"},
        {"credHelpers": {HOST: 1}},
    ],
)
def test_a_file_that_makes_no_sense_is_said_to_and_nothing_is_sent(
    home: Path, settings: object, capsys: pytest.CaptureFixture[str]
) -> None:
    write(home, settings)
    with pytest.raises(click.ClickException):
        credentials.find(HOST)
    assert credentials.header(f"{HOST}/box") == {}
    assert capsys.readouterr().err.startswith("WARNING: ")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("login -u me -p x --password-stdin", "mutually exclusive"),
        ("login --password-stdin", "Must provide --username"),
        ("login", "non TTY"),
        ("login -u me", "non TTY"),
        ("push -a box:1", "can't be used with --all-tags"),
    ],
)
def test_a_login_or_push_that_cannot_be_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, said: str
) -> None:
    assert ends_with(monkeypatch, *line.split()) == 1
    assert said in capsys.readouterr().err
