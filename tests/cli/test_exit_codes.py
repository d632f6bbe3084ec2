# SPDX-License-Identifier: Apache-2.0
"""What a command line that cannot be, or a daemon that is not there, ends with: the codes of docker's client 28."""

from __future__ import annotations

import errno
import importlib
import socket
from pathlib import Path

import pytest

from hypercell.cli.exit import start_failure
from tests.support.command import ends_with


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("", 0),
        ("--help", 0),
        ("run --help", 0),
        ("system", 0),
        ("--foo", 125),
        ("ps --foo", 125),
        ("ps --filter bad", 125),
        ("stop --time x box", 125),
        ("exec --foo", 125),
        ("run --foo busybox", 125),
        ("run -e", 125),
        ("run --memory foo busybox", 125),
        ("run -p x:y busybox", 125),
        ("run --restart foo busybox", 125),
        ("run --rm --restart always busybox", 125),
        ("run --env-file /nonexistent busybox", 125),
        ("run --cidfile /etc/passwd busybox", 125),
        ("create --memory foo busybox", 125),
        ("create -p x:y busybox", 125),
        ("frob", 1),
        ("cp a b", 1),
        ("system frob", 1),
        ("run", 1),
        ("create", 1),
        ("exec", 1),
        ("rm -f", 1),
        ("logs a b", 1),
        ("tag a", 1),
        ("start -a a b", 1),
        ("run -it busybox", 1),
        ("events --since foo", 1),
    ],
)
def test_a_wrong_line_ends_with_dockers_code(monkeypatch: pytest.MonkeyPatch, line: str, code: int) -> None:
    assert ends_with(monkeypatch, *line.split()) == code


@pytest.mark.parametrize(
    ("line", "code"), [("run busybox", 125), ("create busybox", 1), ("exec a b", 1), ("ps", 1), ("system df", 1)]
)
def test_no_daemon_ends_with_dockers_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, code: int
) -> None:
    assert ends_with(monkeypatch, "-H", f"unix://{tmp_path}/none", *line.split()) == code


def test_a_word_of_dockers_client_alone_is_said_with_the_line_to_type(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends_with(monkeypatch, "-H", "unix:///some.sock", "cp", "a", "b") == 1
    assert "DOCKER_HOST=unix:///some.sock docker cp" in capsys.readouterr().err


def test_a_socket_that_may_not_be_opened_is_not_taken_for_a_daemon_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(_socket: socket.socket, _address: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refused)
    assert ends_with(monkeypatch, "ps") == 1
    said = capsys.readouterr().err
    assert "Permission denied" in said and "Become root" in said
    assert "Is it running" not in said


def test_an_id_file_is_left_only_where_a_container_came_to_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    host, file = f"unix://{tmp_path}/none", tmp_path / "id"
    assert ends_with(monkeypatch, "-H", host, "run", "--cidfile", str(file), "busybox") == 125
    assert not file.exists()
    file.write_text("another container's")
    assert ends_with(monkeypatch, "-H", host, "run", "--cidfile", str(file), "busybox") == 125
    assert file.read_text() == "another container's"


def test_a_failed_start_ends_as_a_shell_would() -> None:
    assert start_failure('exec: "x": executable file not found in $PATH') == 127
    assert start_failure("stat /x: no such file or directory") == 127
    assert start_failure('exec: "/etc": permission denied') == 126
    assert start_failure("the VM did not boot") == 125


@pytest.mark.parametrize(
    "line",
    [
        "builder",
        "checkpoint box",
    ],
)
def test_a_command_of_dockers_that_is_not_built_is_said_to_be_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    assert ends_with(monkeypatch, *line.split()) == 1
    said = capsys.readouterr().err
    assert f"{line.rpartition(' ')[0] or line}: not built yet" in said or f"{line}: not built yet" in said
    assert "docker's own" not in said


@pytest.mark.parametrize("line", ["image ls", "image push box", "container ls", "search box"])
def test_what_dockers_own_command_can_do_is_not_called_unbuilt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    assert ends_with(monkeypatch, *line.split()) == 1
    said = capsys.readouterr().err
    assert "docker's own has it" in said and "not built" not in said


@pytest.mark.parametrize("verb", ["run", "create"])
def test_h_is_the_host_name_of_a_new_container(verb: str) -> None:
    command = importlib.import_module("hypercell.cli.run").__dict__[f"{verb}_command"]
    context = command.make_context(verb, ["-h", "foo", "busybox", "hostname"])
    assert (context.params["hostname"], context.params["command"]) == ("foo", ("hostname",))


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        ("type=volume,src=data", "target is required"),
        ("type=volume,src=data,dst=/data,odd=1", "unexpected key 'odd'"),
        ("type=volume,dst", "write it as key=value"),
        ("dst=/data,readonly=perhaps", "neither true nor false"),
        ("type=tmpfs,dst=/t,tmpfs-mode=rwx", "no octal number"),
        ("type=tmpfs,dst=/t,tmpfs-size=much", "invalid size"),
    ],
)
def test_a_mount_that_makes_no_sense_is_refused_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mount: str, words: str
) -> None:
    assert ends_with(monkeypatch, "run", "--mount", mount, "busybox") == 125
    assert words in capsys.readouterr().err
