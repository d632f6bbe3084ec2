# SPDX-License-Identifier: Apache-2.0
"""What commands say and end with when the daemon goes away in the middle of an answer, or answers 404."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.support.command import ends_with

RUNNING = {"Id": "a" * 64, "State": {"Running": True, "Paused": False}, "Config": {"Tty": False, "OpenStdin": False}}


class Dying(BaseHTTPRequestHandler):
    """Describes containers and refuses all else that is asked of `nosuch`; every long answer breaks off."""

    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return ""

    def log_message(self, *_: object) -> None:
        pass

    def _json(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _answer(self) -> None:
        self.close_connection = True
        route = self.path.partition("?")[0]
        if "nosuch" in route:
            self._json(404, {"message": "No such container: nosuch"})
        elif route.endswith("/attach"):
            self.send_response(101)
            self.send_header("Content-Type", "application/vnd.docker.multiplexed-stream")
            self.end_headers()
        elif route.endswith("/containers/create"):
            self._json(201, {"Id": "a" * 64})
        elif route.endswith("/containers/json"):
            self._json(200, [])
        elif route.endswith(("/box/json", "/tty/json")):
            tty = "/tty/" in route
            self._json(200, {**RUNNING, "Config": {"Tty": tty, "OpenStdin": False}})
        elif route.endswith(("/start", "/box")):
            self.send_response(204)
            self.end_headers()
        elif route.endswith("/images/get") and "names=whole" in self.path:
            self._json(200, "an archive")
        elif not route.endswith("/top"):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"4\r\n    \r\n" if route.endswith("/events") else b"")

    do_GET = do_POST = do_DELETE = _answer


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    with Server(str(tmp_path / "socket"), Dying) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"unix://{tmp_path}/socket"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("logs -f box", 1),
        ("logs -f tty", 1),
        ("wait box", 1),
        ("events", 1),
        ("attach box", 1),
        ("start -a box", 1),
        ("stats box", 1),
        ("top box", 1),
        ("pull busybox", 1),
        ("run busybox", 125),
    ],
)
def test_a_daemon_that_goes_away_is_said_in_words_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: str, line: str, code: int
) -> None:
    assert ends_with(monkeypatch, "-H", host, *line.split()) == code
    said = capsys.readouterr().err
    assert said.startswith("hypercell: The connection to the daemon was lost.") and "hypercelld" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "code"),
    [("rm nosuch box", 1), ("rm -f nosuch box", 0), ("start nosuch box", 1), ("start -a nosuch", 1)]
    + [(f"{verb} nosuch", 1) for verb in ("wait", "logs", "stop", "top", "exec")],
)
def test_what_the_daemon_refuses_is_said_as_docker_says_it_and_no_name_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: str, line: str, code: int
) -> None:
    words = line.split() + (["true"] if line.startswith("exec") else [])
    assert ends_with(monkeypatch, "-H", host, *words) == code
    said = capsys.readouterr()
    assert said.err == "Error response from daemon: No such container: nosuch\n"
    assert said.out == ("box\n" if "box" in words else "")


@pytest.mark.parametrize("verb", ["rm", "start", "wait", "ps"])
def test_a_daemon_that_is_not_there_has_answered_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, verb: str
) -> None:
    words = [verb] if verb == "ps" else [verb, "box"]
    assert ends_with(monkeypatch, "-H", f"unix://{tmp_path}/none", *words) == 1
    assert capsys.readouterr().err.startswith("hypercell: Cannot connect to the hypercell daemon")


def test_a_saved_image_is_its_owners_alone(monkeypatch: pytest.MonkeyPatch, host: str, tmp_path: Path) -> None:
    target = tmp_path / "image.tar"
    target.write_text("what was here")
    target.chmod(0o644)
    assert ends_with(monkeypatch, "-H", host, "save", "-o", str(target), "whole") == 0
    assert target.stat().st_mode & 0o777 == 0o600
    assert target.read_text() == '"an archive"'


def test_a_save_that_breaks_off_leaves_what_was_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: str, tmp_path: Path
) -> None:
    target = tmp_path / "images" / "image.tar"
    target.parent.mkdir()
    target.write_text("what was here")
    assert ends_with(monkeypatch, "-H", host, "save", "-o", str(target), "half") == 1
    assert "connection to the daemon was lost" in capsys.readouterr().err
    assert [(file.name, file.read_text()) for file in target.parent.iterdir()] == [("image.tar", "what was here")]


def test_a_device_is_not_replaced_by_an_image(monkeypatch: pytest.MonkeyPatch, host: str, tmp_path: Path) -> None:
    assert ends_with(monkeypatch, "-H", host, "save", "-o", str(tmp_path / "socket"), "whole") == 1
    assert (tmp_path / "socket").is_socket()


@pytest.mark.parametrize("template", ["{{if", "{{.ID", "{{if .ID}}x{{end}}", "table {{"])
@pytest.mark.parametrize(
    ("line", "code"),
    [("ps", 1), ("images", 1), ("system df", 1), ("inspect box", 64), ("events", 64), ("info", 64), ("version", 64)],
)
def test_a_template_that_is_none_is_said_even_where_there_is_nothing_to_print(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    host: str,
    line: str,
    code: int,
    template: str,
) -> None:
    assert ends_with(monkeypatch, "-H", host, *line.split(), "--format", template) == code
    said = capsys.readouterr()
    assert "failed to parse template" in said.err and said.out == ""


def test_a_template_prints_what_looks_like_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: str
) -> None:
    monkeypatch.setitem(RUNNING, "Name", "{{if")
    assert ends_with(monkeypatch, "-H", host, "inspect", "-f", "{{.Name}}", "box") == 0
    assert capsys.readouterr().out == "{{if\n"
