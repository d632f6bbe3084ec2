# SPDX-License-Identifier: Apache-2.0
"""Names, labels, variables and arguments that mean something to JSON, QEMU, nftables, a shell or a terminal arrive as
they were and are nothing but text on the way (C7 of docs/security.md)."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.daemon import Daemon
from tests.system.conftest import IMAGE

pytestmark = [pytest.mark.vm, pytest.mark.root]

MARK = "hc7mark"
WORDS = [
    f'{MARK}"}},{{"op":"shutdown"',
    f'{MARK}"}}\n{{"execute":"quit"}}\n',
    f"{MARK},file=/etc/shadow,readonly=off,driver=qcow2",
    f"{MARK} -device virtio-9p,fsdev=x -fsdev local,id=x,path=/",
    f"{MARK} }} ; flush ruleset ; table ip x {{ ",
    f"{MARK}$(touch /tmp/{MARK});`id`;'\"\\",
    f"{MARK}\r\nX-Injected: yes\r\n\r\n",
    f"{MARK}\x1b]0;title\x07\x1b[2J\x9b31m",
    f"{MARK}%s%n%x{{0}}{{{{.}}}}",
    f"{MARK}\u202e\u2028\ufeffé😀",
    f"{MARK}" + "../" * 40 + "etc/passwd",
]
SHOW = "for w; do printf '%s\\0' \"$w\"; done; cat /proc/self/environ; echo; sleep 1000"


def test_words_that_mean_something_elsewhere_are_only_words(daemon: Daemon) -> None:
    environment = [f"W{number}={word}" for number, word in enumerate(WORDS)]
    labels = {word: word for word in WORDS}
    body = {"Image": IMAGE, "Cmd": ["sh", "-c", SHOW, "sh", *WORDS], "Env": environment, "Labels": labels}
    host = {"Annotations": labels, "PortBindings": {"80/tcp": [{"HostPort": "18099"}]}}
    status, made = daemon.call("POST", f"/containers/create?name={MARK}.-_", {**body, "HostConfig": host})
    assert status == 201, made
    try:
        assert daemon.call("POST", f"/containers/{made['Id']}/start")[0] == 204
        shown = daemon.call("GET", f"/containers/{made['Id']}/json")[1]
        assert shown["Config"]["Labels"] == labels
        assert shown["HostConfig"]["Annotations"] == labels
        assert set(environment) <= set(shown["Config"]["Env"])
        seen = until_said(daemon, made["Id"], "HOSTNAME=")
        assert seen[: len(WORDS)] == WORDS
        assert set(environment) <= set(seen)
        nowhere_else(daemon, shown["State"]["Pid"])
        listed = daemon.call("GET", "/containers/json?filters=" + '{"label":["hc7mark%25s%25n%25x{0}{{.}}"]}')[1]
        assert [item["Id"] for item in listed] == [made["Id"]]
    finally:
        daemon.call("DELETE", f"/containers/{made['Id']}?force=1")


def until_said(daemon: Daemon, name: str, last: str) -> list[str]:
    """What it prints, cut at each NUL, when all is there: our words twice, and the variable *last*."""
    deadline = time.monotonic() + 60
    while True:
        logs = ["docker", "logs", name]
        done = subprocess.run(logs, env=daemon.environment, check=True, capture_output=True)
        words = done.stdout.decode(errors="replace").split("\0")
        if any(word.startswith(last) for word in words) and len(words) > 2 * len(WORDS) + 2:
            return words
        assert time.monotonic() < deadline, words
        time.sleep(0.1)


def nowhere_else(daemon: Daemon, hypervisor: int) -> None:
    for place in ("cmdline", "environ"):
        assert MARK.encode() not in (Path("/proc") / str(hypervisor) / place).read_bytes()
    assert MARK not in subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout
    assert not Path(f"/tmp/{MARK}").exists()
    assert not [path for path in daemon.directory.rglob("*") if MARK in path.name]
    # What is logged of them cannot pass for lines of its own.
    lines = daemon.log.read_text().splitlines()
    assert all(line[:2] == "20" or line.startswith(" ") for line in lines), lines
    assert "\x1b" not in daemon.log.read_text()


@pytest.mark.parametrize(
    "name", ["a b", "a\n", 'a"', "a;b", "../a", "-a", "a/b", "a\x1b", "é", "a" * 300, "a,b", "{a}"]
)
def test_a_name_is_a_name_or_refused(daemon: Daemon, name: str) -> None:
    status, said = daemon.call("POST", f"/containers/create?name={quote(name)}", {"Image": IMAGE})
    assert (status, "Invalid container name" in said["message"]) == (400, True)
