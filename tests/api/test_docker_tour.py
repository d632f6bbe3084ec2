# SPDX-License-Identifier: Apache-2.0
"""The stock docker CLI's tour of every verb, with real VMs: output and exit codes as a docker user knows them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, running
from tests.system.conftest import IMAGE, load_busybox

pytestmark = [pytest.mark.vm, pytest.mark.root]


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("tour") / "d", bridge="hctour0", subnet="172.27.0.0/16") as daemon:
        load_busybox(daemon)
        yield daemon


@pytest.fixture
def sleeper(tour: Daemon) -> Iterator[str]:
    """A running container."""
    name = f"sleeper{time.monotonic_ns()}"
    tour.docker("run", "-d", "--name", name, "-l", "tour=yes", IMAGE, "sleep", "1000")
    yield name
    tour.docker("rm", "-f", name, check=False)


def output(tour: Daemon, *words: str, **options: object) -> str:
    return tour.docker(*words, **options).stdout.strip()


class Terminal:
    """The docker CLI on a terminal of its own."""

    def __init__(self, tour: Daemon, *words: str, rows: int = 24, columns: int = 80) -> None:
        self._master, slave = pty.openpty()
        self.resize(rows, columns)

        def control() -> None:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            ["docker", *words], stdin=slave, stdout=slave, stderr=slave, env=tour.environment, preexec_fn=control
        )
        os.close(slave)
        self.seen = ""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def expect(self, pattern: str, seconds: float = 60) -> str:
        """Read on until *pattern* is seen; what was read up to and with it."""
        deadline = time.monotonic() + seconds
        while (match := re.search(pattern, self.seen)) is None:
            ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{pattern!r} was not seen in {self.seen!r}"
            try:
                data = os.read(self._master, 4096)
            except OSError:
                raise AssertionError(f"the terminal ended without {pattern!r}: {self.seen!r}") from None
            self.seen += data.decode(errors="replace")
        found, self.seen = self.seen[: match.end()], self.seen[match.end() :]
        return found

    def end(self, seconds: float = 60) -> int:
        """The CLI's exit code."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            if select.select([self._master], [], [], 0.05)[0]:
                with contextlib.suppress(OSError):
                    self.seen += os.read(self._master, 4096).decode(errors="replace")
        code = self.process.wait(1)
        os.close(self._master)
        return code


# Exit codes and streams


def test_run_prints_what_the_container_prints(tour: Daemon) -> None:
    assert output(tour, "run", "--rm", IMAGE, "echo", "hello") == "hello"
    done = tour.docker("run", "--rm", IMAGE, "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_input_is_carried_to_its_end(tour: Daemon) -> None:
    assert output(tour, "run", "--rm", "-i", IMAGE, "cat", input="hi\n") == "hi"
    big = "0123456789abcdef" * 64 * 1024
    assert (
        output(tour, "run", "--rm", "-i", IMAGE, "md5sum", input=big).split()[0]
        == hashlib.md5(big.encode()).hexdigest()
    )


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("run", "--rm", IMAGE, "sh", "-c", "exit 7"), 7, ""),
        (("run", "--rm", IMAGE, "nosuchprogram"), 127, "executable file not found"),
        (("run", "--rm", IMAGE, "/etc"), 126, "permission denied"),
        (("run", "--rm", "-w", "/bin/sh/x", IMAGE, "true"), 125, "choose a working directory"),
        (("run", "--rm", "-u", "nosuch", IMAGE, "true"), 125, "unable to find user nosuch"),
        (("run", "--rm", "--network", "mine", IMAGE, "true"), 125, "network mine not found"),
        (("run", "--rm", "--memory", "1024g", IMAGE, "true"), 125, "choose a smaller one"),
        (("run", "--rm", "--volumes-from", "x", IMAGE, "true"), 125, "No such container: x"),
        (("run", "--rm", "-v", "/etc:/host:shared", IMAGE, "true"), 125, "a VM's mounts are its own"),
        (("run", "--rm", "--mount", "type=bind,src=/no,dst=/host", IMAGE, "true"), 125, "source path does not exist"),
        (("run", "--rm", "--memory", "1m", IMAGE, "true"), 125, "Minimum memory limit allowed is 6MB"),
        (("run", "--rm", "--no-such-flag", IMAGE), 125, "unknown flag"),
    ],
)
def test_exit_codes_are_dockers(tour: Daemon, words: tuple[str, ...], code: int, said: str) -> None:
    done = tour.docker(*words, check=False)
    assert done.returncode == code
    assert said in done.stderr
    assert "Error waiting for container" not in done.stderr


def test_a_killed_container_ends_with_137(tour: Daemon) -> None:
    running = subprocess.Popen(
        ["docker", "run", "--rm", "--name", "tokill", IMAGE, "sleep", "1000"], env=tour.environment
    )
    wait_for(tour, "tokill")
    tour.docker("kill", "tokill")
    assert running.wait(30) == 137


def wait_for(tour: Daemon, name: str, state: str = "running") -> None:
    deadline = time.monotonic() + 30
    while output(tour, "inspect", "-f", "{{.State.Status}}", name, check=False) != state:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_signals_go_to_the_container(tour: Daemon) -> None:
    script = "trap 'echo got it; exit 3' INT; echo ready; while :; do sleep 0.1; done"
    running = subprocess.Popen(
        ["docker", "run", "--rm", "--name", "signalled", IMAGE, "sh", "-c", script],
        env=tour.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    running.send_signal(signal.SIGINT)
    assert running.stdout.read() == "got it\n"
    assert running.wait(30) == 3


def test_run_options_take_effect_inside(tour: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("FROM_FILE=1\n")
    script = "id -u; id -g; pwd; hostname; echo $A $FROM_FILE; ulimit -n; cat /proc/1/comm; touch /x || echo read-only"
    options = ["-u", "5:6", "-w", "/tmp", "--hostname", "me", "-e", "A=b", "--env-file", str(file)]
    options += ["--ulimit", "nofile=77:99", "--read-only", "--tmpfs", "/run:size=1m", "--entrypoint", "sh"]
    lines = output(tour, "run", "--rm", *options, IMAGE, "-c", script).splitlines()
    assert lines[:6] == ["5", "6", "/tmp", "me", "b 1", "77"]
    assert lines[-1] == "read-only"


def test_resources_are_limited_inside(tour: Daemon) -> None:
    script = "cd /sys/fs/cgroup; cat memory.max memory.low pids.max"
    options = ["--memory", "96m", "--memory-reservation", "32m", "--cpus", "0.5", "--pids-limit", "50"]
    lines = output(tour, "run", "--rm", *options, IMAGE, "sh", "-c", script).splitlines()
    assert lines == [str(96 << 20), str(32 << 20), "50"]


def test_capabilities_are_given_and_taken(tour: Daemon) -> None:
    def effective(*options: str) -> int:
        text = output(tour, "run", "--rm", *options, IMAGE, "grep", "CapEff", "/proc/self/status")
        return int(text.split()[1], 16)

    assert effective("--cap-drop", "ALL") == 0
    assert effective("--cap-drop", "ALL", "--cap-add", "NET_ADMIN") == 1 << 12
    assert effective("--privileged").bit_count() > 35


def test_mode_host_shows_the_containers_own_vm_and_no_other(tour: Daemon, sleeper: str) -> None:
    script = "cat /proc/1/comm; ls -d /sys/fs/cgroup/containers/*/; hostname; ls -d /dev/shm"
    options = ["--pid", "host", "--cgroupns", "host", "--uts", "host", "--ipc", "host"]
    lines = output(tour, "run", "--rm", "--name", "guest", *options, IMAGE, "sh", "-c", script).splitlines()
    assert lines[0] == "init", "the first process of the VM, which is no container's"
    assert len(lines) == 4, "there is one container in its VM"
    assert lines[2:] == [Path(lines[1]).name[:12], "/dev/shm"], "its VM is called as it is"
    assert output(tour, "run", "--rm", "--ipc", "none", IMAGE, "ls", "/dev").split().count("shm") == 0


def test_the_writable_layer_is_as_large_as_it_was_asked_for(tour: Daemon) -> None:
    script = "df -m / | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2; head -c 90000000 /dev/zero >/full || echo full"
    lines = output(tour, "run", "--rm", "--storage-opt", "size=64m", IMAGE, "sh", "-c", script).splitlines()
    assert 40 < int(lines[0]) <= 64 and lines[-1] == "full"
    refused = tour.docker("run", "--rm", "--storage-opt", "size=900t", IMAGE, "true", check=False)
    assert refused.returncode == 125 and "larger than" in refused.stderr


def test_devices_of_the_vm_are_allowed_by_rule(tour: Daemon) -> None:
    script = "mknod /tmp/kmsg c 1 11 && head -c 0 /tmp/kmsg && echo allowed"
    options = ["--cap-add", "SYSLOG", IMAGE, "sh", "-c", script]  # which some kernels ask for as well
    assert "allowed" not in output(tour, "run", "--rm", *options, check=False)
    assert output(tour, "run", "--rm", "--device-cgroup-rule", "c 1:11 r", *options) == "allowed"


# A container's life


def until_logged(tour: Daemon, name: str, lines: list[str]) -> None:
    deadline = time.monotonic() + 20
    while (logged := output(tour, "logs", name).splitlines()) != lines:
        assert time.monotonic() < deadline, logged
        time.sleep(0.05)


def test_a_life_from_create_to_rm(tour: Daemon) -> None:
    docker = tour.docker
    made = output(tour, "create", "--name", "life", IMAGE, "sh", "-c", "echo run >> /n; cat /n; exec sleep 1000")
    assert re.fullmatch("[0-9a-f]{64}", made)
    assert output(tour, "ps", "-a", "--filter", "name=^life$", "--format", "{{.Status}}") == "Created"
    assert docker("start", "life").stdout == "life\n"
    until_logged(tour, "life", ["run"])
    assert output(tour, "ps", "--filter", "name=life", "--format", "{{.Image}} {{.Status}}").startswith(f"{IMAGE} Up")
    assert docker("pause", "life").stdout == "life\n"
    assert "(Paused)" in output(tour, "ps", "--filter", "name=life", "--format", "{{.Status}}")
    assert docker("unpause", "life").stdout == "life\n"
    assert docker("stop", "-t", "1", "life").stdout == "life\n"
    assert output(tour, "wait", "life") == "137"
    # What it wrote is there after every start: one line, then two, then three.
    assert docker("start", "life").stdout == "life\n"
    until_logged(tour, "life", ["run"] * 3)
    assert docker("restart", "-t", "0", "life").stdout == "life\n"
    until_logged(tour, "life", ["run"] * 6)
    assert docker("rename", "life", "after").stdout == ""
    assert docker("kill", "after").stdout == "after\n"
    assert docker("rm", "after").stdout == "after\n"
    gone = docker("inspect", "after", check=False)
    assert (gone.returncode, gone.stdout) == (1, "[]\n")
    assert "no such object: after" in gone.stderr.lower()


def test_rm_of_a_running_container_needs_force(tour: Daemon, sleeper: str) -> None:
    refused = tour.docker("rm", sleeper, check=False)
    assert refused.returncode == 1
    assert "container is running" in refused.stderr
    assert output(tour, "rm", "-f", sleeper) == sleeper


def test_a_restart_policy_brings_it_back(tour: Daemon) -> None:
    tour.docker("run", "-d", "--name", "phoenix", "--restart", "on-failure:2", IMAGE, "sh", "-c", "echo up; exit 3")
    try:
        wait_for(tour, "phoenix", "exited")
        assert output(tour, "inspect", "-f", "{{.RestartCount}} {{.State.ExitCode}}", "phoenix") == "2 3"
        assert output(tour, "logs", "phoenix").splitlines() == ["up"] * 3
    finally:
        tour.docker("rm", "-f", "phoenix")


def test_logs_in_every_form(tour: Daemon) -> None:
    script = "echo one; sleep 1; echo two; echo err >&2; sleep 1; echo three"
    tour.docker("run", "-d", "--name", "talker", IMAGE, "sh", "-c", script)
    try:
        followed = tour.docker("logs", "-f", "talker")
        assert (followed.stdout, followed.stderr) == ("one\ntwo\nthree\n", "err\n")
        assert output(tour, "logs", "--tail", "1", "talker") == "three"
        stamped = tour.docker("logs", "-t", "talker").stdout.splitlines()
        times = [line.split(" ")[0] for line in stamped]
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", stamp) for stamp in times)
        assert tour.docker("logs", "--since", times[1], "talker").stdout == "two\nthree\n"
        assert tour.docker("logs", "--until", times[0], "talker").stdout == "one\n"
        assert tour.docker("logs", "--since", str(int(time.time()) + 60), "talker").stdout == ""
    finally:
        tour.docker("rm", "-f", "talker")


def until_health_is(tour: Daemon, name: str, status: str) -> None:
    deadline = time.monotonic() + 60
    while output(tour, "inspect", "-f", "{{.State.Health.Status}}", name) != status:
        assert time.monotonic() < deadline, output(tour, "inspect", "-f", "{{json .State}}", name)
        time.sleep(0.1)


def test_health_goes_from_starting_to_healthy_to_unhealthy(tour: Daemon) -> None:
    options = ["--health-cmd", "echo looked; test -e /well", "--health-interval", "500ms", "--health-retries", "2"]
    options += ["--health-start-period", "1h"]
    if "--health-start-interval" in tour.docker("run", "--help").stdout:  # clients before 25 do not know it
        options += ["--health-start-interval", "500ms"]
    tour.docker("run", "-d", "--name", "patient", *options, IMAGE, "sleep", "1000")
    since = output(tour, "inspect", "-f", "{{.State.StartedAt}}", "patient")
    try:
        assert output(tour, "inspect", "-f", "{{.State.Health.Status}}", "patient") == "starting"
        assert output(tour, "ps", "--filter", "health=starting", "--format", "{{.Status}}").endswith(
            "(health: starting)"
        )
        tour.docker("exec", "patient", "touch", "/well")
        until_health_is(tour, "patient", "healthy")
        assert output(tour, "ps", "--filter", "health=healthy", "--format", "{{.Names}}") == "patient"
        tour.docker("exec", "patient", "rm", "/well")
        until_health_is(tour, "patient", "unhealthy")
        last = json.loads(output(tour, "inspect", "-f", "{{json .State.Health}}", "patient"))
        assert last["FailingStreak"] >= 2
        assert (last["Log"][-1]["ExitCode"], last["Log"][-1]["Output"]) == (1, "looked\n")
        assert tour.hypercell("ps", "--filter", "name=patient", "--format", "{{.Status}}").stdout.endswith(
            "(unhealthy)\n"
        )
        filters = ["--filter", "container=patient", "--filter", "event=health_status", "--format", "{{.Action}}"]
        told = output(tour, "events", "--since", since, "--until", str(int(time.time()) + 1), *filters).splitlines()
        assert told[:2] == ["health_status: healthy", "health_status: unhealthy"]
    finally:
        tour.docker("rm", "-f", "patient")


def test_a_health_check_that_takes_too_long_is_killed(tour: Daemon) -> None:
    slow = ["--health-cmd", "echo slow; exec sleep 600", "--health-interval", "100ms", "--health-timeout", "3s"]
    tour.hypercell("run", "-d", "--name", "stuck", *slow, "--health-retries", "1", IMAGE, "sleep", "1000")
    try:
        until_health_is(tour, "stuck", "unhealthy")
        log = json.loads(output(tour, "inspect", "-f", "{{json .State.Health.Log}}", "stuck"))
        assert (log[0]["ExitCode"], log[0]["Output"]) == (-1, "Health check exceeded timeout (3s): slow\n")
        assert output(tour, "top", "stuck").count("sleep 600") <= 1, "what took too long was not killed"
    finally:
        tour.docker("rm", "-f", "stuck")


# Into a running container


def test_exec_in_every_form(tour: Daemon, sleeper: str) -> None:
    assert output(tour, "exec", sleeper, "echo", "in") == "in"
    assert output(tour, "exec", "-i", sleeper, "cat", input="piped") == "piped"
    assert output(tour, "exec", "-u", "9", "-w", "/tmp", "-e", "X=y", sleeper, "sh", "-c", "id -u; pwd; echo $X") == (
        "9\n/tmp\ny"
    )
    assert tour.docker("exec", sleeper, "sh", "-c", "exit 42", check=False).returncode == 42
    assert tour.docker("exec", sleeper, "nosuchprogram", check=False).returncode == 127
    tour.docker("exec", "-d", sleeper, "sh", "-c", "echo made > /made")
    deadline = time.monotonic() + 10
    while tour.docker("exec", sleeper, "cat", "/made", check=False).stdout != "made\n":
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("option", "code", "said"),
    [
        (("-u", "nosuch"), 126, "unable to find user nosuch: no matching entries in passwd file"),
        (("-u", "0:nosuch"), 126, "unable to find group nosuch: no matching entries in group file"),
        (("-w", "/nope"), 127, 'chdir to cwd ("/nope") failed: no such file or directory: choose a working directory'),
    ],
)
def test_an_exec_as_whom_or_where_there_is_nobody_or_nothing_is_told_as_docker_does(
    tour: Daemon, sleeper: str, option: tuple[str, str], code: int, said: str
) -> None:
    for client in (tour.docker, tour.hypercell):
        done = client("exec", *option, sleeper, "true", check=False)
        assert done.returncode == code
        assert said in done.stdout + done.stderr and "PATH" not in done.stdout + done.stderr


def test_top_stats_and_inspect(tour: Daemon, sleeper: str) -> None:
    lines = output(tour, "top", sleeper).splitlines()
    assert lines[0].split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert lines[1].split()[0] == "root"
    assert lines[1].endswith("sleep 1000")
    stats = json.loads(output(tour, "stats", "--no-stream", "--format", "{{json .}}", sleeper))
    assert stats["Name"] == sleeper
    assert int(stats["PIDs"]) >= 1
    assert stats["MemUsage"].endswith("/ 512MiB")
    view = json.loads(output(tour, "inspect", "--size", sleeper))[0]
    assert view["State"]["Running"] is True
    assert view["Config"]["Labels"]["tour"] == "yes"
    assert view["Hypercell"]["accelerator"] in ("kvm", "tcg")
    assert view["SizeRootFs"] > 0
    assert output(tour, "ps", "-q", "--no-trunc", "--filter", "label=tour=yes") == view["Id"]


def test_files_are_copied_in_and_out(tour: Daemon, sleeper: str, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "a").write_text("content")
    (source / "link").symlink_to("a")
    tour.docker("cp", str(source), f"{sleeper}:/copied")
    assert output(tour, "exec", sleeper, "cat", "/copied/link") == "content"
    tour.docker("cp", f"{sleeper}:/copied", str(tmp_path / "out"))
    assert (tmp_path / "out" / "a").read_text() == "content"
    assert (tmp_path / "out" / "link").readlink() == Path("a")
    missing = tour.docker("cp", f"{sleeper}:/nope", str(tmp_path), check=False)
    assert missing.returncode == 1
    # The daemon's words, or those that older clients put in their place.
    assert any(words in missing.stderr for words in ("Could not find the file /nope", "No such container:path: "))


def test_update_of_a_running_container(tour: Daemon, sleeper: str) -> None:
    assert output(tour, "update", "--restart", "always", sleeper) == sleeper
    assert output(tour, "inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", sleeper) == "always"


# The terminal


def test_a_terminal_is_one_on_both_sides(tour: Daemon) -> None:
    terminal = Terminal(tour, "run", "--rm", "-it", "--name", "screen", IMAGE, "sh", rows=31, columns=97)
    terminal.expect(r"[#$] ")
    terminal.type("tty; stty size\n")
    terminal.expect(r"/dev/pts/0\r\n")
    terminal.expect("31 97")
    terminal.resize(45, 111)
    os.kill(terminal.process.pid, signal.SIGWINCH)
    deadline = time.monotonic() + 20
    while "45 111" not in terminal.seen:
        assert time.monotonic() < deadline, terminal.seen
        terminal.type("stty size\n")
        terminal.expect(r"\d+ \d+\r\n")
        if "45 111" in terminal.expect(r"[#$] "):
            break
        time.sleep(0.2)
        terminal.type("stty size\n")
        if re.search("45 111", terminal.expect(r"stty size\r\n\d+ \d+\r\n")):
            break
    terminal.type("exit 5\n")
    assert terminal.end() == 5


def test_ctrl_c_reaches_the_program_in_the_terminal(tour: Daemon) -> None:
    terminal = Terminal(tour, "run", "--rm", "-it", IMAGE, "sh", "-c", "trap 'echo caught; exit 9' INT; echo go; cat")
    terminal.expect("go\r\n")
    # What cat repeats shows that it runs: a signal before that reaches only the shell, which waits for cat.
    terminal.type("here\n")
    terminal.expect("here\r\nhere\r\n")
    terminal.type("\x03")
    terminal.expect("caught")
    assert terminal.end() == 9


def test_detach_keys_leave_it_running_and_attach_comes_back(tour: Daemon) -> None:
    terminal = Terminal(tour, "run", "-it", "--name", "detached", IMAGE, "sh")
    try:
        terminal.expect(r"[#$] ")
        terminal.type("x=kept\n")
        terminal.expect(r"[#$] ")
        terminal.type("\x10\x11")
        assert terminal.end() == 0
        assert output(tour, "inspect", "-f", "{{.State.Status}}", "detached") == "running"
        again = Terminal(tour, "attach", "--detach-keys", "ctrl-a,b", "detached")
        again.type("echo $x\n")
        again.expect("kept")
        again.type("\x01b")
        again.end()
        assert output(tour, "inspect", "-f", "{{.State.Status}}", "detached") == "running"
        last = Terminal(tour, "attach", "detached")
        last.type("exit 6\n")
        assert last.end() == 6
    finally:
        tour.docker("rm", "-f", "detached")


def test_exec_on_a_terminal(tour: Daemon, sleeper: str) -> None:
    terminal = Terminal(tour, "exec", "-it", sleeper, "sh", "-c", "tty; stty size; exit 8", rows=22, columns=66)
    terminal.expect(r"/dev/pts/\d+\r\n")
    terminal.expect("22 66")
    assert terminal.end() == 8


# Images


def test_images_come_go_and_have_names(tour: Daemon, tmp_path: Path) -> None:
    assert output(tour, "images", "--format", "{{.Repository}}:{{.Tag}}") == IMAGE
    tour.docker("tag", IMAGE, "again:1")
    assert output(tour, "image", "inspect", "-f", "{{len .RepoTags}}", "again:1") == "2"
    archive = tmp_path / "saved.tar"
    tour.docker("save", "-o", str(archive), "again:1")
    assert tour.docker("rmi", "again:1").stdout == "Untagged: again:1\n"
    assert output(tour, "load", "-i", str(archive)) == "Loaded image: again:1"
    assert output(tour, "history", "--format", "{{.Comment}}", "again:1") == "Imported from -"
    assert output(tour, "run", "--rm", "again:1", "echo", "same") == "same"
    tour.docker("rmi", "again:1")
    missing = tour.docker("run", "--rm", "--pull", "never", "again:1", check=False)
    assert missing.returncode == 125
    assert "No such image: again:1" in missing.stderr


def test_an_image_in_use_is_not_removed(tour: Daemon, sleeper: str) -> None:
    refused = tour.docker("rmi", IMAGE, check=False)
    assert refused.returncode == 1
    assert "conflict" in refused.stderr.lower()


# The engine


def test_events_tell_a_containers_story(tour: Daemon) -> None:
    tour.docker("run", "--rm", "--name", "story", IMAGE, "true")
    since, until = str(int(time.time()) - 60), str(int(time.time()) + 1)
    told = output(
        tour, "events", "--since", since, "--until", until, "--filter", "container=story", "--format", "{{.Action}}"
    )
    assert told.splitlines() == ["create", "attach", "start", "die", "destroy"]


def test_version_and_info(tour: Daemon) -> None:
    assert output(tour, "version", "-f", "{{.Server.APIVersion}} {{.Server.MinAPIVersion}}") == "1.51 1.24"
    assert output(tour, "info", "-f", "{{.OSType}} {{.DefaultRuntime}}") == "linux hypercell"


def test_networks(tour: Daemon, sleeper: str) -> None:
    assert output(tour, "network", "ls", "--format", "{{.Name}}").splitlines() == ["bridge", "none"]
    address = output(tour, "inspect", "-f", "{{.NetworkSettings.IPAddress}}", sleeper)
    assert address.startswith("172.27.")
    gateway = output(tour, "network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "bridge")
    assert output(tour, "exec", sleeper, "ping", "-c", "1", "-w", "5", gateway).count("1 packets received") == 1
    alone = output(tour, "run", "--rm", "--network", "none", IMAGE, "ip", "-o", "addr")
    assert [line.split()[1] for line in alone.splitlines()] in (["lo"], ["lo", "lo"])


def test_a_published_port_reaches_the_container(tour: Daemon) -> None:
    server = "while :; do echo welcome | nc -l -p 80; done"
    tour.docker("run", "-d", "--name", "server", "-p", "127.0.0.1:0:80", IMAGE, "sh", "-c", server)
    try:
        host, port = output(tour, "port", "server", "80/tcp").split(":")
        deadline = time.monotonic() + 20
        said = ""
        while said != "welcome" and time.monotonic() < deadline:
            done = subprocess.run(
                ["busybox", "nc", "-w", "2", host, port], input="", capture_output=True, text=True, check=False
            )
            said = done.stdout.strip()
        assert said == "welcome"
    finally:
        tour.docker("rm", "-f", "server")


def test_system_df_and_prune(tour: Daemon) -> None:
    tour.docker("run", "--name", "ended", IMAGE, "true")
    lines = output(tour, "system", "df", "--format", "{{.Type}} {{.TotalCount}}").splitlines()
    assert "Images 1" in lines
    said = output(tour, "system", "prune", "-f")
    assert "Total reclaimed space" in said
    assert output(tour, "ps", "-aq", "--filter", "name=ended") == ""
    assert output(tour, "images", "-q") != ""


def test_what_is_not_built_says_so(tour: Daemon) -> None:
    for words in (("swarm", "init"), ("run", "--rm", "--device", "/dev/fuse", IMAGE, "true")):
        refused = tour.docker(*words, check=False)
        assert refused.returncode in (1, 125)
        assert "not built yet" in refused.stderr
