# SPDX-License-Identifier: Apache-2.0
"""A booted VM for each test, with busybox as its image and an empty disk to write to."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from hypercell.vm import open_driver
from hypercell.vm.driver import Disk, Shared, Slot
from tests.guest.guest import Guest
from tests.support.files import copy_sparsely
from tests.support.vm import guest_kernel, settings, specification

APPLETS = (
    "cat chmod chown date dd echo env false grep head hostname id ifconfig kill ln ls md5sum mkdir mkfifo mount nc ps "
    "readlink rm seq sh sleep sort stat stty sync tail tar test touch tr true tty uname wc yes"
)
PASSWD = "root:x:0:0:root:/root:/bin/sh\nworker:x:1000:1000::/home/worker:/bin/sh\n"
GROUP = "root:x:0:\nworker:x:1000:\nextra:x:77:worker\n"

Boot = Callable[..., Awaitable[Guest]]


def _tool(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Busybox, as an EROFS image."""
    directory = tmp_path_factory.mktemp("image")
    root = directory / "root"
    for name in ("bin", "etc", "root", "tmp", "home/worker", "srv"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin" / "busybox")
    for applet in APPLETS.split():
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text(PASSWD)
    (root / "etc/group").write_text(GROUP)
    (root / "srv/plain").write_text("no program\n")
    (root / "srv/script").write_text("#!/no/such/interpreter\n")
    (root / "srv/script").chmod(0o755)
    (root / "tmp").chmod(0o1777)
    _tool("mkfs.erofs", "--quiet", "--all-root", directory / "image", root)
    return directory / "image"


@pytest.fixture(scope="session")
def empty_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("disk") / "rw"
    with path.open("wb") as file:
        file.truncate(256 << 20)
    _tool("mkfs.ext4", "-q", "-F", path)
    return path


@pytest.fixture
async def boot(tmp_path: Path, image: Path, empty_disk: Path) -> AsyncIterator[Boot]:
    """Boots VMs, of `$HYPERCELL_KERNEL` if that is set, and leaves nothing of them.

    A guest whose agent died must not pass for a good one.
    """
    config = settings(tmp_path, kernel=os.environ.get("HYPERCELL_KERNEL", "auto"))
    kernel = guest_kernel(config)
    config.root.mkdir(parents=True)
    driver = open_driver(config)
    guests: list[Guest] = []

    async def boot(
        *,
        disk: Path | None = None,
        image: Path = image,
        memory_mib: int = 152,
        vcpus: int = 1,
        configured: bool = True,
        shared: tuple[Shared, ...] = (),
    ) -> Guest:
        if disk is None:
            disk = copy_sparsely(empty_disk, tmp_path / f"rw{len(guests)}")
        disks = {Slot.ROOT: Disk(image, read_only=True), Slot.WRITABLE: Disk(disk, read_only=False)}
        guest = Guest(
            await driver.launch(
                specification(
                    config.root,
                    kernel,
                    disks=disks,
                    memory_mib=memory_mib + kernel.overhead_mib,
                    vcpus=vcpus,
                    shared=shared,
                )
            )
        )
        guests.append(guest)
        await guest.connect()
        if configured:
            await guest.ask("configure", hostname="vm", clock_ns=time.time_ns(), entropy=random_text())
        return guest

    yield boot
    for guest in guests:
        await guest.agent.close()
    for vm_id in await driver.known():
        await driver.discard(vm_id)
    await driver.close()


def random_text() -> str:
    """64 bytes of entropy in base64."""
    return base64.b64encode(os.urandom(64)).decode()


@pytest.fixture
async def guest(boot: Boot) -> Guest:
    return await boot()


@pytest.fixture
def disk_copy(tmp_path: Path, empty_disk: Path) -> Path:
    """A disk for more than one VM, one after the other."""
    return copy_sparsely(empty_disk, tmp_path / "kept")
