# SPDX-License-Identifier: Apache-2.0
"""Our own command against real VMs: the verbs, what they print, and what they end with."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.images import busybox
from tests.support.registry import running_registry
from tests.system.conftest import IMAGE

pytestmark = [pytest.mark.vm, pytest.mark.root]


def test_a_container_from_pull_to_rm(daemon: Daemon, tmp_path: Path) -> None:
    run = daemon.hypercell
    with running_registry(tmp_path / "registry") as registry:
        name = registry.push("box:1", busybox())
        pulled = run("pull", name)
        assert f"Status: Downloaded newer image for {name}" in pulled.stdout
    made = run(
        "create", "--name", "tour", "-e", "A=1", "-w", "/tmp", "-l", "k=v", name, "sh", "-c", "echo $A $PWD; exit 3"
    )
    assert re.fullmatch(r"[0-9a-f]{64}\n", made.stdout)
    attached = run("start", "-a", "tour", check=False)
    assert (attached.stdout, attached.returncode) == ("1 /tmp\n", 3)
    assert run("logs", "tour").stdout == "1 /tmp\n"
    assert re.match(r"\d{4}-.*Z 1 /tmp\n", run("logs", "-t", "tour").stdout)
    assert run("wait", "tour").stdout == "3\n"
    listed = run("ps", "-a", "--filter", "name=tour").stdout.splitlines()
    assert listed[0].split() == ["CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert "Exited (3)" in listed[1]
    assert json.loads(run("ps", "-a", "--format", "json", "--filter", "name=tour").stdout)["Names"] == "tour"
    assert run("inspect", "-f", "{{.State.ExitCode}} {{.Config.Labels.k}}", "tour").stdout == "3 v\n"
    assert run("rename", "tour", "toured").stdout == ""
    assert run("rm", "toured").stdout == "toured\n"
    gone = run("rm", "toured", check=False)
    assert (gone.returncode, gone.stderr) == (1, "Error response from daemon: No such container: toured\n")
    assert f"Untagged: {name}" in run("rmi", name).stdout


def test_what_happens_to_a_running_container(daemon: Daemon) -> None:
    run = daemon.hypercell
    run("run", "-d", "--name", "steady", IMAGE, "sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.1; done")
    try:
        assert run(
            "exec", "-e", "X=y", "-u", "nobody", "-w", "/tmp", "steady", "sh", "-c", "id -un; pwd; echo $X"
        ).stdout == ("nobody\n/tmp\ny\n")
        assert run("exec", "steady", "sh", "-c", "exit 9", check=False).returncode == 9
        assert run("exec", "steady", "missing", check=False).returncode == 127
        assert "UID" in run("top", "steady").stdout
        assert "steady" in run("stats", "--no-stream", "steady").stdout
        run("pause", "steady")
        assert "(Paused)" in run("ps").stdout
        run("unpause", "steady")
        assert run("stop", "steady").stdout == "steady\n"
        assert run("inspect", "-f", "{{.State.ExitCode}}", "steady").stdout == "7\n"
        run("start", "steady")
        run("kill", "-s", "KILL", "steady")
        assert run("wait", "steady").stdout == "137\n"
        run("restart", "steady")
        until = str(int(time.time()) + 1)
        events = run("events", "--since", "5m", "--until", until, "--filter", "container=steady").stdout
        for action in ("create", "start", "pause", "unpause", "die", "kill", "restart"):
            assert f"container {action}" in events
    finally:
        run("rm", "-f", "steady")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--rm", IMAGE, "sh", "-c", "exit 42"], 42, ""),
        (["--rm", IMAGE, "sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137, ""),
        (["--rm", IMAGE, "missing"], 127, "executable file not found in $PATH"),
        (["--rm", IMAGE, "/etc"], 126, "permission denied"),
        (["--rm", "--pull", "never", "no-such-image"], 125, "No such image: no-such-image:latest"),
        (["--rm", "--restart", "always", IMAGE], 125, "Conflicting options"),
        (["--rm", "--size", "xxl", IMAGE], 125, "unknown size"),
        (["--rm", "-v", "/dev/null:/x", IMAGE], 125, "a VM has its own: bind files and directories"),
        (["--no-such-option", IMAGE], 125, "No such option"),
    ],
)
def test_exit_codes_are_dockers(daemon: Daemon, arguments: list[str], code: int, said: str) -> None:
    done = daemon.hypercell("run", *arguments, check=False)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def test_stdin_ends_and_both_outputs_stay_apart(daemon: Daemon) -> None:
    script = "cat; echo oops >&2"
    done = daemon.hypercell("run", "--rm", "-i", IMAGE, "sh", "-c", script, input="from a pipe\n")
    assert (done.stdout, done.stderr) == ("from a pipe\n", "oops\n")


class Terminal:
    """Our command on a terminal of its own."""

    def __init__(self, daemon: Daemon, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        os.set_blocking(self.master, False)
        command = [sys.executable, "-m", "hypercell.cli.main", *arguments]
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=daemon.environment, start_new_session=True
        )
        os.close(slave)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def expect(self, wanted: str, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while wanted not in self.seen:
            assert time.monotonic() < deadline, f"no {wanted!r} in {self.seen!r}"
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.master, 65536).decode(errors="replace")
                except OSError:
                    break
        assert wanted in self.seen, self.seen

    def end(self) -> int:
        code = self.process.wait(30)
        os.close(self.master)
        return code


def test_a_terminal_with_its_size_and_detach_keys(daemon: Daemon) -> None:
    terminal = Terminal(daemon, "run", "-it", "--name", "term", IMAGE, "sh")
    try:
        terminal.expect("# ")
        subprocess.run(["stty", "rows", "33", "cols", "101"], stdin=terminal.master, check=True)
        os.killpg(terminal.process.pid, signal.SIGWINCH)
        # The size takes its own way to the guest; the shell asks until it is there.
        terminal.type("until stty size | grep 33' '101; do sleep 0.1; done\n")
        terminal.expect("33 101")
        terminal.type("\x10\x11")
        assert terminal.end() == 0
        assert daemon.hypercell("inspect", "-f", "{{.State.Running}}", "term").stdout == "true\n"
        again = Terminal(daemon, "attach", "term")
        again.type("\nexit 5\n")
        assert again.end() == 5
    finally:
        daemon.hypercell("rm", "-f", "term")


def test_images_come_and_go_as_archives(daemon: Daemon, tmp_path: Path) -> None:
    run = daemon.hypercell
    run("tag", IMAGE, "copy:1")
    run("save", "-o", str(tmp_path / "copy.tar"), "copy:1")
    assert "Untagged: copy:1" in run("rmi", "copy:1").stdout
    assert "Loaded image: copy:1" in run("load", "-i", str(tmp_path / "copy.tar")).stdout
    assert "copy" in run("images").stdout
    assert run("history", "-q", "copy:1").stdout
    run("rmi", "copy:1")


def test_the_machine_tells_about_itself(daemon: Daemon) -> None:
    run = daemon.hypercell
    info = json.loads(run("info", "--format", "json").stdout)
    assert info["Driver"]
    assert "accelerator" in run("doctor", check=False).stdout
    assert "Server:" in run("version").stdout
    assert run("system", "df").stdout.startswith("TYPE")
    run("create", "--name", "stale", IMAGE)
    pruned = run("system", "prune", "-f").stdout
    assert "Total reclaimed space" in pruned
    assert "stale" not in run("ps", "-a").stdout


def test_no_daemon_is_said_with_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hypercell.cli.main", "-H", f"unix://{tmp_path}/none", "ps"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Is it running?" in done.stderr


def test_the_doctor_needs_no_daemon(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hypercell.cli.main", "-H", f"unix://{tmp_path}/none", "doctor", "--format", "json"],
        check=False,
        capture_output=True,
        text=True,
    )
    names = {check["name"]: check["status"] for check in json.loads(done.stdout)}
    assert names["root"] == "ok"
    assert "accelerator" in names
