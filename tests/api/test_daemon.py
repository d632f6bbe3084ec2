# SPDX-License-Identifier: Apache-2.0
"""hypercelld as a process: its places, its end, what it says."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import socket
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypercell.api.daemon_log import LineFormatter
from hypercell.api.docker.version import HEADERS
from hypercell.api.notify import notify
from hypercell.api.places import bind_socket, engine_id, locked, prepare
from hypercell.base.config import Config
from hypercell.base.errors import Conflict, InvalidArgument
from tests.support.daemon import Daemon, running


@pytest.fixture
def config(tmp_path: Path) -> Config:
    made = Config(root=tmp_path / "root", run=tmp_path / "run")
    prepare(made)
    return made


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with running(tmp_path / "d", driver="fake") as started:
        yield started


def test_one_state_directory_has_one_daemon(config: Config) -> None:
    with locked(config):
        with pytest.raises(Conflict, match="another hypercelld"), locked(config):
            pass
        with pytest.raises(Conflict), locked(Config(root=config.root, run=config.run / "other")):
            pass
    with locked(config):
        pass


def test_a_second_daemon_is_refused_and_the_first_serves_on(daemon: Daemon) -> None:
    command = [sys.executable, "-m", "hypercell.api.daemon", "--config", str(daemon.directory / "hypercell.toml")]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 1
    assert daemon.process is not None
    assert f"another hypercelld (process {daemon.process.pid})" in second.stderr
    assert daemon.call("GET", "/_ping")[0] == 200


def test_the_socket_is_for_its_group_alone_from_the_first_moment(config: Config) -> None:
    with contextlib.closing(bind_socket(config)):
        found = config.socket.stat()
        assert stat.S_ISSOCK(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == 0o660
        assert [path.name for path in config.run.iterdir()] == ["hypercell.sock"]


def test_a_stale_socket_is_replaced_and_a_living_one_is_not(config: Config) -> None:
    bind_socket(config).close()
    assert config.socket.exists()
    with contextlib.closing(bind_socket(config)), pytest.raises(Conflict, match="somebody else serves"):
        bind_socket(config)


def test_a_group_that_does_not_exist_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="there is no group 'nosuchgroup'"):
        bind_socket(Config(run=tmp_path, group="nosuchgroup"))


def test_a_path_too_long_for_a_socket_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="too long"):
        bind_socket(Config(run=tmp_path / ("x" * 100)))


def test_the_engine_keeps_its_id(config: Config) -> None:
    assert engine_id(config) == engine_id(config)


def test_a_stopped_daemon_leaves_no_socket_and_its_successor_knows_the_containers(daemon: Daemon) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    subprocess.run(
        ["docker", "import", "-", "fake:test"],
        input=archive.getvalue(),
        env=daemon.environment,
        check=True,
        capture_output=True,
    )
    status, made = daemon.call("POST", "/containers/create?name=kept", {"Image": "fake:test", "Cmd": ["sleep", "60"]})
    assert status == 201
    identity = daemon.call("GET", "/info")[1]["ID"]
    daemon.stop()
    assert not daemon.socket.exists()
    daemon.start()
    assert daemon.call("GET", "/containers/kept/json")[1]["Id"] == made["Id"]
    assert daemon.call("GET", "/info")[1]["ID"] == identity


def test_a_killed_daemon_is_replaced(daemon: Daemon) -> None:
    daemon.kill()
    assert daemon.socket.exists()
    daemon.start()
    assert daemon.call("GET", "/_ping")[0] == 200


def test_the_daemon_keeps_within_its_memory(daemon: Daemon) -> None:
    for _ in range(500):
        assert daemon.call("GET", "/info")[0] == 200
    assert daemon.process is not None
    lines = Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines()
    resident = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    assert resident < 80 * 1024


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_the_command_explains_itself(option: str) -> None:
    command = [sys.executable, "-m", "hypercell.api.daemon", option]
    said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    assert "hypercelld" in said


def test_the_doctor_examines_a_machine_without_a_daemon(config: Config, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(f'root = "{config.root}"\nrun = "{config.run}"\ndriver = "fake"\n')
    command = [sys.executable, "-m", "hypercell.api.daemon", "--doctor", "--config", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["socket"]["status"] == "warn"
    assert "start hypercelld" in checks["socket"]["hint"]
    assert done.returncode == (1 if any(check["status"] == "fail" for check in checks.values()) else 0)


def test_wrong_settings_are_told_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("colour = 'blue'\n")
    command = [sys.executable, "-m", "hypercell.api.daemon", "--config", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "unknown setting 'colour'" in done.stderr


def test_a_log_record_is_one_line_whatever_it_says() -> None:
    try:
        raise ValueError("a\nb")
    except ValueError:
        record = logging.LogRecord("hypercell.x", logging.ERROR, "", 0, "bad \x1b[0m %s", ("\r\n",), sys.exc_info())
    line = LineFormatter().format(record)
    assert line.isprintable()
    assert " error   x bad \\u001b[0m \\r\\n" in line
    assert "ValueError: a\\nb" in line
    assert LineFormatter(priorities=True).format(record).startswith("<3>x bad")


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notify("READY=1", "STATUS=Serving")
        assert listener.recv(100) == b"READY=1\nSTATUS=Serving"
    notify("READY=1")  # nobody listens any more: no error


def test_the_server_header_is_one_that_docker_clients_can_read() -> None:
    import re

    assert re.fullmatch(r"Docker/.+\s\((.+)\)", dict(HEADERS)["Server"])
