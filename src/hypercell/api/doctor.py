# SPDX-License-Identifier: Apache-2.0
"""What this machine has and lacks for running containers in VMs: one check after another, each with a hint.

The checks look at the machine, not at a running daemon, so they also work where the daemon does not start.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from hypercell import vm
from hypercell.backends.network.dns import upstreams
from hypercell.base.config import Config
from hypercell.base.errors import HypercellError
from hypercell.vm.cgroups import CgroupTree
from hypercell.vm.kernels import DISTRIBUTION, OWN

Json = dict[str, str]
_CAP_SYS_RESOURCE = 24
_MIN_FREE = 2 * 1024**3
_PATIENCE = 5


@dataclass(frozen=True, slots=True)
class Finding:
    status: str
    detail: str
    hint: str = ""


def ok(detail: str, hint: str = "") -> Finding:
    return Finding("ok", detail, hint)


def warn(detail: str, hint: str) -> Finding:
    return Finding("warn", detail, hint)


def fail(detail: str, hint: str) -> Finding:
    return Finding("fail", detail, hint)


async def examine(config: Config) -> list[Json]:
    """`[{"name", "status": "ok" | "warn" | "fail", "detail", "hint"}]`, in the order in which to read them."""
    findings = await asyncio.to_thread(lambda: {name: _safely(check, config) for name, check in CHECKS.items()})
    return [{"name": name, **asdict(finding)} for name, finding in findings.items()]


def _safely(check: Check, config: Config) -> Finding:
    try:
        return check(config)
    except HypercellError as error:
        return fail(error.message, error.hint)
    except OSError as error:
        return fail(str(error), "")


def _first_line(*command: str) -> str | None:
    """What *command* says first, or None when it cannot be run or fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=_PATIENCE, check=True, stdin=subprocess.DEVNULL, text=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().partition("\n")[0]


def root(config: Config) -> Finding:
    if os.geteuid() == 0:
        return ok("runs as root")
    return fail(f"runs as user {os.geteuid()}", "run hypercelld as root")


def hypervisor(config: Config) -> Finding:
    program = vm.find_program(config)
    said = _first_line(program.path, "--version")
    if said is None:
        return fail(f"{program.path} cannot be run", "apt-get install qemu-system-x86, or set `qemu`")
    return ok(f"{said} ({program.path}: {program.reason})")


def accelerator(config: Config) -> Finding:
    chosen = vm.probe(config)
    detail = f"{chosen.name}: {chosen.reason}"
    if chosen.name == "kvm":
        return ok(detail)
    return warn(detail, "everything works without KVM, several times slower")


def guest_kernel(config: Config) -> Finding:
    kernel = vm.find_kernel(config)
    built = [name for name in (OWN, DISTRIBUTION) if (config.guest_dir / name / "vmlinux").exists()]
    detail = f"{kernel.name}, {kernel.release}; built here: {', '.join(built) or 'none'}"
    if kernel.name == DISTRIBUTION:
        return ok(detail, "`make kernel` builds one that boots several times faster")
    return ok(detail)


def agent(config: Config) -> Finding:
    """The agent travels in the initramfs beside the kernel."""
    initrd = vm.find_kernel(config).initrd
    size = initrd.stat().st_size
    if config.driver != "fake" and size < 1024:
        return fail(f"{initrd} holds nothing", "run make guest")
    return ok(f"in {initrd}, {size // 1024} KiB")


def control_groups(config: Config) -> Finding:
    tree = CgroupTree.of_host(config.run)
    layout = ", ".join(
        f"{'v2' if item.unified else 'v1'} ({' '.join(sorted(item.controllers)) or 'no controllers'})"
        for item in tree.hierarchies
    )
    missing = tree.missing()
    if missing:
        lost = f"{' and '.join(missing)} of VMs can be neither limited nor counted by the host"
        return warn(f"{layout or 'none mounted'}; {lost}", "mount the controllers")
    return ok(layout)


def resource_limits(config: Config) -> Finding:
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    if int(status.get("CapEff", "0"), 16) >> _CAP_SYS_RESOURCE & 1:
        return ok("CAP_SYS_RESOURCE is there")
    lost = "without CAP_SYS_RESOURCE the host's hard limits cannot be raised, nor hypervisors spared by its OOM killer"
    return warn(lost, "containers are not affected: the agent has it in every guest")


def firewall(config: Config) -> Finding:
    version = _first_line("nft", "--version")
    if version is None:
        return fail("nft cannot be run", "apt-get install nftables")
    if _first_line("nft", "list", "tables") is None:
        return fail(f"{version}, but the kernel refuses", "load the module nf_tables")
    return ok(version)


def forwarding(config: Config) -> Finding:
    if Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1":
        return ok("net.ipv4.ip_forward is 1")
    return warn("net.ipv4.ip_forward is 0", "hypercelld sets it when it starts")


def bridge(config: Config) -> Finding:
    with contextlib.suppress(OSError):
        socket.if_nametoindex(config.bridge)
        return ok(f"{config.bridge}, {config.subnet}")
    return warn(f"{config.bridge} does not exist", "hypercelld makes it when it starts")


def tap_devices(config: Config) -> Finding:
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return fail(f"/dev/net/tun: {error.strerror}", "modprobe tun")
    return ok("/dev/net/tun can be opened")


def file_systems(config: Config) -> Finding:
    found = shutil.which("mkfs.ext4")
    if found is None:
        return fail("mkfs.ext4 cannot be run", "apt-get install e2fsprogs")
    return ok(found)


def disk(config: Config) -> Finding:
    place = next(path for path in (config.root, *config.root.parents) if path.exists())
    free = shutil.disk_usage(place).free
    detail = f"{free / 1024**3:.1f} GiB free at {place}"
    if free < config.reserve_bytes:
        return fail(detail, "pulls and new containers are refused: free some space")
    if free < _MIN_FREE:
        return warn(detail, "hypercell system prune removes what nothing uses")
    return ok(detail)


def name_servers(config: Config) -> Finding:
    servers = [str(server) for server in upstreams(config.dns)]
    if not servers:
        return warn("none is configured: names do not resolve", "set `dns`")
    return ok(", ".join(servers))


def socket_file(config: Config) -> Finding:
    try:
        found = config.socket.stat()
    except FileNotFoundError:
        return warn(f"{config.socket} does not exist", "start hypercelld")
    try:
        group = grp.getgrgid(found.st_gid).gr_name
    except KeyError:
        group = str(found.st_gid)
    detail = f"{config.socket}, mode {stat.S_IMODE(found.st_mode):04o}, group {group}"
    if stat.S_IMODE(found.st_mode) & 0o007:
        return fail(detail, "whoever can use it is root here: chmod o= it")
    return ok(detail)


Check = Callable[[Config], Finding]
CHECKS: dict[str, Check] = {
    "root": root,
    "hypervisor": hypervisor,
    "accelerator": accelerator,
    "guest kernel": guest_kernel,
    "agent": agent,
    "control groups": control_groups,
    "resource limits": resource_limits,
    "nftables": firewall,
    "IP forwarding": forwarding,
    "bridge": bridge,
    "tap devices": tap_devices,
    "file systems": file_systems,
    "disk": disk,
    "name servers": name_servers,
    "socket": socket_file,
}
