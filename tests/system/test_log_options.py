# SPDX-License-Identifier: Apache-2.0
"""Log drivers and rotation with real VMs, the stock docker CLI and ours, over the death of the daemon."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.system.conftest import IMAGE

pytestmark = [pytest.mark.vm, pytest.mark.root]

LAST = 60_000


def until_logged(daemon: Daemon, name: str, line: str) -> list[str]:
    deadline = time.monotonic() + 120
    while (said := daemon.docker("logs", "--tail", "1", name).stdout.strip()) != line:
        assert time.monotonic() < deadline, f"{line} was never logged; the last is {said!r}"
        time.sleep(0.1)
    return daemon.docker("logs", name).stdout.split()


def until_written(file: Path, end: str) -> None:
    deadline = time.monotonic() + 60
    while not file.read_text().endswith(end):
        assert time.monotonic() < deadline, f"{end!r} was never followed"
        time.sleep(0.05)


def numbers(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


def test_a_rotating_log_survives_the_daemon_and_is_read_in_every_form(own_daemon: Daemon, tmp_path: Path) -> None:
    docker = own_daemon.docker
    script = f"seq 1 {LAST // 2}; read go; seq {LAST // 2 + 1} {LAST}; read go"
    options = ["max-size=64k", "max-file=3", "compress=true", "labels=team", "env=MODE", "tag={{.Name}}"]
    docker(
        *("run", "-di", "--name", "it", "-l", "team=a b", "-e", "MODE=x"),
        *(word for option in options for word in ("--log-opt", option)),
        *(IMAGE, "sh", "-c", script),
    )
    kept = until_logged(own_daemon, "it", str(LAST // 2))
    assert kept == numbers(LAST // 2 - len(kept) + 1, LAST // 2) and 10_000 < len(kept) < 40_000
    own_daemon.kill()
    own_daemon.start()
    assert docker("logs", "it").stdout.split() == kept

    followed = tmp_path / "followed"
    with followed.open("wb") as file:
        words = ["docker", "logs", "-f", "--tail", "1", "it"]
        follower = subprocess.Popen(words, env=own_daemon.environment, stdout=file)
    until_written(followed, f"{LAST // 2}\n")
    with subprocess.Popen(
        ["docker", "attach", "it"],
        env=own_daemon.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as attached:
        assert attached.stdin is not None
        attached.stdin.write("go\n")
        attached.stdin.flush()
        kept = until_logged(own_daemon, "it", str(LAST))
        attached.kill()  # it would pass a kinder signal on
    assert kept == numbers(LAST - len(kept) + 1, LAST)
    directory = own_daemon.root / "containers" / docker("inspect", "-f", "{{.Id}}", "it").stdout.strip() / "log"
    assert sum(file.stat().st_size for file in directory.iterdir()) <= 3 * 64_000
    detailed = docker("logs", "--details", "--tail", "2", "it").stdout
    assert detailed == "".join(f"MODE=x,tag=it,team=a+b {number}\n" for number in (LAST - 1, LAST))
    shown = json.loads(docker("inspect", "-f", "{{json .HostConfig.LogConfig}}", "it").stdout)
    assert shown == {"Type": "json-file", "Config": dict(option.split("=", 1) for option in options)}
    until_written(followed, f"\n{LAST}\n")
    docker("rm", "-f", "it")
    assert follower.wait(60) == 0
    lines = [int(line) for line in followed.read_text().split()]  # it may have been left behind by a whole log
    assert lines[0] == LAST // 2 and lines == sorted(set(lines))


def test_none_is_attached_to_and_not_read(daemon: Daemon) -> None:
    for run in (daemon.docker, daemon.hypercell):
        assert run("run", "--name", "mute", "--log-driver", "none", IMAGE, "echo", "hello").stdout == "hello\n"
        refused = run("logs", "mute", check=False)
        assert refused.returncode == 1
        assert "configured logging driver does not support reading" in refused.stderr
        run("rm", "mute")


def test_wrong_options_are_refused_in_dockers_words(daemon: Daemon) -> None:
    for run in (daemon.docker, daemon.hypercell):
        refused = run("create", "--log-opt", "max-siz=1m", IMAGE, "true", check=False)
        assert refused.returncode != 0 and "unknown log opt 'max-siz' for json-file log driver" in refused.stderr
        refused = run("create", "--log-driver", "syslog", IMAGE, "true", check=False)
        assert refused.returncode != 0 and "no log driver named 'syslog' is registered" in refused.stderr
