# SPDX-License-Identifier: Apache-2.0
"""Images made to break out, run in real VMs: A8, A12 and A13 of docs/security.md."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.hostile import PASSWD, bare_root, hostile_image, load, with_devices
from tests.support.images import Image
from tests.system.conftest import IMAGE

pytestmark = [pytest.mark.vm, pytest.mark.root]

MISPLACED: dict[str, bytes | str | None] = {
    # Each leads to what the VM itself has there: its own init, its disks, the mounts of its agent.
    "dev": "/run/hypercell",
    "run": None,
    "etc": "../../../var",
    "var": None,
    "var/resolv.conf": "/init",
    "var/hosts": "../../../../run/hypercell/disks/rw",
    "var/hostname": "../../../made/on/the/way",
    "var/passwd": PASSWD,
}
LOOK = "cat /etc/hostname; cut -d' ' -f5 /proc/self/mountinfo; ls / /run /run/hypercell; cat /init | wc -l"


@pytest.fixture
def shelf(daemon: Daemon, tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(daemon, tmp_path)
    yield made
    for name in made.names:
        daemon.docker("rmi", "-f", name, check=False)


class Shelf:
    def __init__(self, daemon: Daemon, directory: Path) -> None:
        self.daemon, self.directory, self.names = daemon, directory, list[str]()

    def put(self, image: Image) -> str:
        directory = self.directory / str(len(self.names))
        directory.mkdir()
        self.names.append(load(self.daemon, directory, f"hostile.test/image:{len(self.names)}", image))
        return self.names[-1]


def refused(daemon: Daemon, image: str, *options: str) -> str:
    """What a run that must fail before the program begins says."""
    ended = daemon.docker("run", "--rm", *options, image, "echo", "it began", check=False)
    assert (ended.returncode, ended.stdout) == (125, ""), ended
    return ended.stderr


def test_a13_symlinks_in_an_images_root_lead_nowhere_outside(daemon: Daemon, shelf: Shelf) -> None:
    name = shelf.put(hostile_image(bare_root(MISPLACED)))
    seen = daemon.docker("run", "--rm", "--hostname", "within", name, "sh", "-c", LOOK).stdout.split()
    assert seen[0] == "within"
    # What was to lie at these paths lies where the image's own links lead, inside.
    for place in ("/run/hypercell", "/init", "/run/hypercell/disks/rw", "/made/on/the/way"):
        assert place in seen
    # And what the VM has there is not seen: the agent's directories, its own init (an ELF file of many lines).
    assert "containers" not in seen
    assert seen[-1] == "1"
    # The next container of that root, and others, are as they should be.
    assert daemon.docker("run", "--rm", "--hostname", "x", IMAGE, "cat", "/etc/hostname").stdout == "x\n"


DISPLACED: dict[str, bytes | str | None] = {
    "etc": None,
    "covered": None,
    "covered/link": "/elsewhere",
    "elsewhere": None,
    "dev": "/covered",
    "proc": "/covered/link/p",
}


def test_a13_a_proc_that_is_a_symlink_is_refused(daemon: Daemon, shelf: Shelf) -> None:
    """Else a mount in between changes where /proc leads, its masks find nothing, and an open procfs is left behind."""
    assert "/proc is a symbolic link in the image" in refused(daemon, shelf.put(hostile_image(bare_root(DISPLACED))))


def test_a8_device_nodes_of_an_image_open_no_device(daemon: Daemon, shelf: Shelf) -> None:
    """Of memory, of the VM's disks (virtio-blk: 254 with our kernel, 252 to 254 with others), of its console."""
    nodes = {f"disk{major}": (tarfile.BLKTYPE, major, 32) for major in (252, 253, 254)}
    nodes |= {"mem": (tarfile.CHRTYPE, 1, 1), "kmsg": (tarfile.CHRTYPE, 1, 11), "console": (tarfile.CHRTYPE, 229, 0)}
    name = shelf.put(hostile_image(with_devices(bare_root({"etc": None}), **nodes)))
    script = "for d in $0; do dd if=/$d of=/dev/null bs=1 count=1; mknod /own b 254 32; done; dd if=/own bs=1 count=1"
    seen = daemon.docker("run", "--rm", name, "sh", "-c", script, " ".join(nodes), check=False)
    assert seen.stdout == ""
    assert seen.stderr.count("Operation not permitted") == len(nodes) + 1, seen.stderr


CONFIG = {
    "User": "nobody",
    "Env": ["PATH=/bin", "LINES=one\ntwo", "LD_PRELOAD=/evil.so", 'JSON="},{"', "EMPTY="],
    "WorkingDir": "../../../../work/../deep",
    "Volumes": {"/../../../host": {}, "relative/../..//data": {}},
    "ExposedPorts": {"80/tcp": {}},
    "Labels": {"a": 'x"},"y":{"\n', "": "no name", "../../etc": "\x1b[2J"},
    "Entrypoint": ["sh", "-c", "env; pwd; id -u; ls /; ls -A /host /data | grep -v : | grep . || echo empty"],
    "Cmd": ["--privileged", "-v/:/host"],
    "StopSignal": "SIGNONSENSE",
    "Shell": ["/evil"],
    "OnBuild": ["RUN evil"],
    "ArgsEscaped": True,
}


def test_a12_a_hostile_config_is_nothing_but_data(daemon: Daemon, shelf: Shelf) -> None:
    name = shelf.put(hostile_image(bare_root({"etc": None, "etc/passwd": PASSWD}), **CONFIG))
    seen = daemon.docker("run", "--rm", name, check=False)
    lines = seen.stdout.splitlines()
    assert {"LINES=one", "two", 'JSON="},{"', "EMPTY=", "LD_PRELOAD=/evil.so"} <= set(lines)
    assert "/deep" in lines
    assert "65534" in lines
    # A volume is a directory of its own inside, and nothing of the host's.
    assert {"host", "data"} <= set(lines)
    assert "empty" in lines
    shown = json.loads(daemon.docker("image", "inspect", name).stdout)[0]["Config"]
    assert shown["Labels"] == CONFIG["Labels"]
    assert set(shown["Volumes"]) == {"/host", "/data"}


def test_a12_a_user_too_large_is_not_root(daemon: Daemon, shelf: Shelf) -> None:
    """CVE-2024-40635: a number that is cut to 32 bits is 0."""
    name = shelf.put(hostile_image(bare_root({"etc": None, "etc/passwd": PASSWD}), User="4294967296"))
    assert "must be in range" in refused(daemon, name)


def test_a12_an_image_that_exposes_every_port_takes_none(daemon: Daemon, shelf: Shelf) -> None:
    """Publishing all of them would take the daemon's time, and every port of the host."""
    every = {"1-65535/tcp": {}, "1-65535/udp": {}, **{f"{n}-65000": {} for n in range(1, 3000)}}
    name = shelf.put(hostile_image(bare_root({"etc": None}), ExposedPorts=every))
    assert "more than 1000 ports" in refused(daemon, name, "-P")
    assert daemon.docker("ps", "-aq", "--filter", f"ancestor={name}").stdout == ""
    # Without -P it can be run, and whoever lists containers is not held up by it.
    container = daemon.docker("create", name).stdout.strip()
    try:
        assert daemon.docker("ps", "-aq", "--no-trunc", "--filter", f"ancestor={name}").stdout.strip() == container
        assert len(daemon.docker("inspect", container).stdout) < 100_000
    finally:
        daemon.docker("rm", container)
