# SPDX-License-Identifier: Apache-2.0
"""Programs that attack from inside their VM, with every right that a container can have: B1, B3, B5, C3 and C4 of
docs/security.md."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import struct
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.support.daemon import Daemon, running
from tests.support.files import digest
from tests.support.namespaces import Host
from tests.support.vm import open_files
from tests.system.conftest import IMAGE, load_busybox

pytestmark = [pytest.mark.vm, pytest.mark.root]

LOG_SIZE = 512 * 1024
SECRET = "a secret of the host"
DISKS = 'for d in /sys/block/vd*; do mknod /$(cat $d/serial).disk b $(tr : " " <$d/dev); done'


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that keeps little of what a container says."""
    directory = tmp_path_factory.mktemp("small") / "d"
    with running(directory, bridge="hcsmall0", subnet="172.26.0.0/16", log_size=LOG_SIZE) as daemon:
        load_busybox(daemon)
        yield daemon


Runner = Callable[..., str]


@pytest.fixture
def run(small: Daemon) -> Iterator[Runner]:
    """Starts a container in the background and returns its id; all are removed in the end."""
    started: list[str] = []

    def start(*command: str, options: tuple[str, ...] = ()) -> str:
        started.append(small.docker("run", "-d", *options, IMAGE, *command).stdout.strip())
        return started[-1]

    yield start
    small.docker("rm", "-f", *started)


@pytest.fixture
def secret() -> Iterator[Path]:
    """A file of the host that every user may read, hypervisors' too."""
    path = Path(f"/tmp/hypercell-secret-{os.getpid()}")
    path.write_text(SECRET * 100)
    path.chmod(0o644)
    yield path
    path.unlink()


def inside(daemon: Daemon, name: str, script: str, data: bytes = b"") -> str:
    """What the script prints, its errors included."""
    command = ["docker", "exec", "-i", name, "sh", "-c", f"exec 2>&1; {script}"]
    done = subprocess.run(command, input=data, env=daemon.environment, capture_output=True, timeout=60)
    return done.stdout.decode(errors="replace")


def inspected(daemon: Daemon, name: str, *path: str) -> object:
    found = json.loads(daemon.docker("inspect", name).stdout)[0]
    for key in path:
        found = found[key]
    return found


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


# B1, B5: disks


def qcow2(backing: Path) -> bytes:
    """The header of a qcow2 disk whose content is that of *backing*, in 1024 bytes: ext4 leaves as many free before its
    superblock, so that the disk goes on to be one."""
    name = str(backing).encode()
    header = b"QFI\xfb" + struct.pack(">IQIIQII", 2, 512, len(name), 16, 1 << 20, 0, 1)
    return header.ljust(512, b"\0") + name.ljust(512, b"\0")


def roots(daemon: Daemon) -> dict[str, str]:
    """The digest of every root that VMs share."""
    files = list((daemon.root / "images" / "chains").iterdir())
    assert files
    return {path.name: digest(path) for path in files}


def test_disks_are_what_the_host_says_whatever_a_guest_writes(small: Daemon, run: Runner, secret: Path) -> None:
    name = run("sleep", "1000", options=("--privileged",))
    before = roots(small)
    (disk,) = small.root.glob("containers/*/rw.img")
    size = disk.stat().st_size
    spoil = (
        f"{DISKS}; mkdir m; mount -t erofs /root.disk m; mount -o remount,rw m; touch m/x; "
        "blockdev --setrw /root.disk; dd if=/dev/zero of=/root.disk bs=4096 count=8 conv=fsync; "
        "dd of=/rw.disk conv=fsync; echo survived"
    )
    said = inside(small, name, spoil, qcow2(secret))
    assert said.endswith("survived\n"), said
    small.docker("stop", "-t", "1", name)
    small.docker("start", name)
    assert roots(small) == before
    # The disk holds the header as so many bytes, is as large as it was, and nothing of it is another file's.
    with disk.open("rb") as file:
        assert file.read(1024) == qcow2(secret)
    look = "od -An -c -N4 /rw.disk; cat /sys/block/vdb/size; head -c 100000 /rw.disk | grep -c host\\'s"
    seen = inside(small, name, look)
    assert seen.split() == ["Q", "F", "I", "373", str(size // 512), "0"]
    assert str(secret) not in open_files(int(str(inspected(small, name, "State", "Pid"))))


# B3: floods


def test_a_flood_without_a_newline_costs_a_bounded_log(small: Daemon, run: Runner) -> None:
    wall = "head -c 1500000 /dev/zero | tr '\\0' x"
    name = run("sh", "-c", f"{wall}; printf '\\033]0;owned\\007\\033[2J'; {wall}; echo; echo the end")
    small.docker("wait", name)
    log = small.root / "containers" / name / "log"
    assert 0 < sum(file.stat().st_size for file in log.iterdir()) <= LOG_SIZE
    assert small.docker("logs", "--tail", "1", name).stdout.endswith("the end\n")
    assert len(small.docker("logs", name).stdout) < LOG_SIZE
    assert resident(small) < 120 << 20


def test_a_flood_of_the_console_costs_a_bounded_file(small: Daemon, run: Runner) -> None:
    name = run("sleep", "1000", options=("--privileged",))
    inside(small, name, "mknod /console c 229 0; yes $(printf '\\033[31mred') | head -c 250000 >/console")
    console = small.run / "vms" / name / "console.log"
    assert 64 * 1024 <= console.stat().st_size <= 192 * 1024
    assert inside(small, name, "echo well") == "well\n"


def resident(daemon: Daemon) -> int:
    assert daemon.process is not None
    text = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", text)[0]) * 1024


def test_what_a_program_calls_itself_does_not_steer_a_terminal(small: Daemon, run: Runner) -> None:
    name = run("sh", "-c", "sh -c 'sleep 1000; true' \"$(printf '\\033]0;owned\\007\\033[2Jx')\"")
    eventually(lambda: "sleep" in small.hypercell("top", name).stdout)
    shown = small.hypercell("top", name).stdout
    assert "owned" in shown
    assert "\x1b" not in shown and "\x07" not in shown


# C3: copies


def raw(daemon: Daemon, method: str, name: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """A request for the archive of a path."""
    connection = HTTPConnection("hypercell", timeout=60)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(daemon.socket))
    headers = {"Content-Type": "application/x-tar"}
    connection.request(method, f"/containers/{name}/archive?{urlencode({'path': path})}", body, headers)
    answer = connection.getresponse()
    try:
        return answer.status, answer.read()
    finally:
        connection.close()


def tar_of(*members: tuple[str, bytes | str]) -> bytes:
    """Bytes make a file, text a symlink."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


RACE = """
mkdir -p /race/real; echo inside >/etc/canary; echo inside >/race/real/canary
while true; do
  ln -s ../../../../../../../../etc /race/new; mv -T /race/new /race/dir
  ln -s /proc/1/root/etc /race/new; mv -T /race/new /race/dir
  rm /race/dir; mkdir /race/dir; echo inside >/race/dir/canary; rm -r /race/dir
done
"""


def test_copies_meet_the_guests_files_alone_however_it_swaps_them(small: Daemon, run: Runner) -> None:
    name = run("sh", "-c", RACE)
    eventually(lambda: inside(small, name, "cat /race/real/canary") == "inside\n")
    host = Path("/etc/canary")
    assert not host.exists()
    passwd = Path("/etc/passwd").read_bytes()
    seen: set[bytes] = set()
    for turn in range(300):
        # At least sixty turns, and then until both sides of the swap were seen: a loaded machine takes more.
        if turn >= 60 and len(seen) > 1:
            break
        status, content = raw(small, "GET", name, ("/race/dir/canary", "/race/dir/passwd")[turn % 2])
        assert status in (200, 400, 404, 500)
        if status == 200:
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                readers = [archive.extractfile(member) for member in archive]
                seen |= {reader.read() for reader in readers if reader}
        raw(small, "PUT", name, "/race/dir", tar_of(("canary", b"inside\n"), ("new/canary", b"inside\n")))
    ours = {b"", b"inside\n", inside(small, name, "cat /etc/passwd").encode()}
    assert seen - ours == set()
    assert len(seen & ours) > 1, "the race was never met"
    assert not host.exists() and not Path("/etc/new").exists()
    assert Path("/etc/passwd").read_bytes() == passwd


ESCAPES = [
    tar_of(("../../../../../../../../tmp/pwned", b"x")),
    tar_of(("/tmp/pwned", b"x")),
    tar_of(("out", "/tmp"), ("out/pwned", b"x")),
    tar_of(("out", "../../../../../../tmp"), ("out/pwned", b"x")),
    tar_of(("out", "/proc/1/root/tmp"), ("out/pwned", b"x")),
]


def test_archives_that_climb_stay_in_the_guest(small: Daemon, run: Runner) -> None:
    name = run("sh", "-c", "mkdir /into; sleep 1000")
    eventually(lambda: "into" in inside(small, name, "ls /"))
    for archive in ESCAPES:
        status, said = raw(small, "PUT", name, "/into", archive)
        assert status in (200, 400, 403, 404, 500)
        assert b"Traceback" not in said
    assert not Path("/tmp/pwned").exists()
    for path in ("/../../../../../../etc/shadow", "/proc/1/root/etc/shadow", "/into/../../../etc/shadow"):
        status, content = raw(small, "GET", name, path)
        assert status in (404, 500) or Path("/etc/shadow").read_bytes() not in content
    assert inside(small, name, "cat /etc/passwd").startswith("root:x:0:0:")


# C4: the daemon's own doors


def listening(pid: int) -> set[tuple[str, str]]:
    """(protocol, address) of every socket on which the process waits for strangers."""
    own = {link[8:-1] for link in open_files(pid) if link.startswith("socket:[")}
    found = set()
    for protocol in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{protocol}").read_text().splitlines()[1:]:
            words = line.split()
            # 0A is LISTEN; a datagram socket that is connected (01) hears its peer alone.
            if words[9] in own and (words[3] == "0A" or (protocol.startswith("udp") and words[3] == "07")):
                address, port = words[1].split(":")
                packed = bytes.fromhex(address)[::-1]
                found.add((protocol, f"{socket.inet_ntoa(packed) if len(packed) == 4 else address}:{int(port, 16)}"))
    for line in Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]:
        words = line.split()
        if words[6] in own and int(words[3], 16) & 0x10000:
            found.add(("unix", words[7]))
    return found


def test_a_guest_finds_no_door_to_the_daemon_but_names(small: Daemon, run: Runner) -> None:
    assert small.process is not None
    gateway = "172.26.0.1:53"
    # The API's socket was renamed into its place: the kernel remembers the name that it was bound to.
    assert listening(small.process.pid) == {
        ("tcp", gateway),
        ("udp", gateway),
        ("unix", f"{small.socket}".replace(".sock", ".new")),
    }
    name = run("sleep", "1000", options=("--privileged",))
    ask = "printf 'GET /_ping HTTP/1.0\\r\\n\\r\\n' | nc -w 1 172.26.0.1"
    assert "OK" not in inside(small, name, f"{ask} 2375; {ask} 2376; {ask} 80; ls -R /run /var/run")


METADATA = "169.254.169.254"


def test_a_guest_reaches_the_outside_but_no_metadata_service(small: Daemon, run: Runner) -> None:
    """Where a cloud tells a machine its credentials: to this machine's address, which a container has behind NAT."""
    with Host("metadata", "198.51.100.9", "198.51.100.10") as outside:
        outside.run(["ip", "addr", "add", f"{METADATA}/32", "dev", "lo"])
        subprocess.run(["ip", "route", "add", METADATA, "via", outside.theirs], check=True)
        assert (
            subprocess.run(
                ["/bin/busybox", "ping", "-c1", "-W5", METADATA], check=False, capture_output=True
            ).returncode
            == 0
        )
        name = run("sleep", "1000", options=("--privileged",))
        said = inside(small, name, f"ping -c1 -W5 {outside.theirs} >/dev/null && echo out; ping -c1 -W1 {METADATA}")
        assert said.startswith("out\n")
        assert "100% packet loss" in said
