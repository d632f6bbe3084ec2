# SPDX-License-Identifier: Apache-2.0
"""One VM, lived in more than once: warmed up by one container, then given to another, as the pool does."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.guest.conftest import Boot, random_text
from tests.guest.guest import Guest
from tests.guest.specifications import IN_MEMORY, config
from tests.support.files import copy_sparsely

pytestmark = [pytest.mark.vm, pytest.mark.root]

CAPABILITIES = ["CAP_SYS_PTRACE", "CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"]
FILES = [{"path": "/etc/hosts", "data": "aGVyZQo=", "mode": 420}]
LOOK = (
    "cat /proc/1/mountinfo; ls /proc/1/root/run/hypercell/*; ls -R /proc/1/root/sys/fs/cgroup; hostname; "
    "ls /proc/1/fd; cat /proc/sysvipc/shm; grep -E 'VmData|Threads' /proc/1/status"
)


async def left(guest: Guest) -> str:
    """What there is in the VM beside the container that looks, from the agent's point of view."""
    specification = config("sh", "-c", LOOK)
    specification["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES)
    specification["linux"] = {"namespaces": [{"type": "mount"}]}
    specification["mounts"] = [{"destination": "/proc", "type": "proc", "source": "proc"}]
    specification["hostname"] = ""
    streams = await guest.create("looks", specification, root=IN_MEMORY)
    await guest.ask("container.start", container="looks")
    seen = await guest.read(streams.stdout)
    assert (await guest.exit("looks"))["code"] == 0
    await guest.ask("container.delete", container="looks")
    # Numbers of mounts and devices are given anew each time.
    return re.sub(r"(?m)^\d+ \d+ \d+:\d+ ", "", seen.decode())


async def live(guest: Guest, number: int) -> None:
    """A container that uses everything a container can leave traces in."""
    script = "echo mine >/srv/mine; echo x >/dev/shm/x; mkdir /tmp/d; cat /etc/hosts; (sleep 1000 &); exit 3"
    await guest.ask("configure", hostname="vm", clock_ns=time.time_ns(), entropy=random_text())
    ended = await guest.run(f"c{number}", "sh", "-c", script, files=FILES)
    assert (ended.code, ended.stdout) == (3, b"here\n")


async def test_nothing_of_a_deleted_container_is_left_in_its_vm(guest: Guest) -> None:
    await live(guest, 0)
    first = await left(guest)
    assert "/run/hypercell" in first
    for number in range(1, 6):
        await live(guest, number)
    assert await left(guest) == first
    assert (await guest.ask("state"))["containers"] == []


async def test_a_disk_that_was_exchanged_while_nobody_had_it_is_read_afresh(
    boot: Boot, image: Path, disk_copy: Path, empty_disk: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    (other / "bin").mkdir(parents=True)
    for name in ("proc", "dev", "sys", "srv"):
        (other / name).mkdir()
    shutil.copy("/bin/busybox", other / "bin/busybox")
    for applet in ("sh", "cat", "ls"):
        (other / "bin" / applet).symlink_to("busybox")
    (other / "srv/plain").write_text("another image\n")
    subprocess.run(["mkfs.erofs", "--quiet", "--all-root", tmp_path / "second", other], check=True)
    root = copy_sparsely(image, tmp_path / "first")
    guest = await boot(disk=disk_copy, image=root)

    look = ("sh", "-c", "cat /srv/plain; ls /srv; echo written >/srv/new")
    assert (await guest.run("c", *look)).stdout == b"no program\nplain\nscript\n"
    assert (await guest.run("c", *look)).stdout == b"no program\nnew\nplain\nscript\n"
    overwrite(root, tmp_path / "second")
    overwrite(disk_copy, empty_disk)
    assert (await guest.run("c", *look)).stdout == b"another image\nplain\n"


def overwrite(path: Path, content: Path) -> None:
    """New content in the file that the hypervisor has open; a slot keeps its size."""
    size = path.stat().st_size
    copy_sparsely(content, path)
    os.truncate(path, size)


async def test_a_guest_without_a_host_waits_in_poll(guest: Guest) -> None:
    specification = config("sleep", "1000")
    specification["linux"]["namespaces"] = [{"type": "mount"}]
    specification["hostname"] = ""
    await guest.create("c", specification)
    await guest.ask("container.start", container="c")
    before = await wakes(guest)
    await guest.agent.close()
    await asyncio.sleep(2)
    (await guest.connect()).reserve_streams(100)
    # The connection that ends, the new one and the exec between the two looks take some; a loop takes thousands.
    assert await wakes(guest) - before < 100


async def wakes(guest: Guest) -> int:
    """How often the agent was given a processor."""
    seen = (await guest.execute("c", "grep", "ctxt_switches", "/proc/1/status")).stdout.decode()
    return sum(int(number) for number in re.findall(r"\d+", seen))


async def test_a_guest_that_sleeps_is_not_woken_to_compact_its_memory(guest: Guest) -> None:
    specification = config("sleep", "1000")
    specification["linux"]["namespaces"] = [{"type": "mount"}]
    specification["hostname"] = ""
    await guest.create("c", specification)
    await guest.ask("container.start", container="c")
    await asyncio.sleep(0.6)  # it finds out when it looks for the last time, half a second after the boot
    script = "for p in /proc/[0-9]*; do if grep -q kcompactd $p/comm; then grep ctxt $p/status; fi; done"
    first = (await guest.execute("c", "sh", "-c", script)).stdout
    await asyncio.sleep(1.5)
    assert first.count(b"ctxt_switches") == 2
    assert (await guest.execute("c", "sh", "-c", script)).stdout == first
