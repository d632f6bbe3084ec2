# SPDX-License-Identifier: Apache-2.0
"""The kernels that guests can boot, and the command line that each wants (docs/adr/0004-guest-kernel.md)."""

from __future__ import annotations

import re
from pathlib import Path

from hypercell.base.config import Config
from hypercell.base.errors import InvalidArgument, NotFound
from hypercell.vm.accel import KVM, Accelerator
from hypercell.vm.driver import GuestKernel
from hypercell.vm.tsc import tsc_khz

OWN = "own"
DISTRIBUTION = "distribution"

_COMMON = (
    "quiet",
    "console=hvc0",
    "rdinit=/init",
    # A guest that panicked or reboots ends its hypervisor at once: triple fault, and -no-reboot.
    "panic=-1",
    "reboot=t",
    "8250.nr_uarts=0",
    "random.trust_cpu=on",
    # Grace periods are waited for at every unmount and end of a namespace; with few CPUs, hurrying them is cheap.
    "rcupdate.rcu_expedited=1",
)
# An emulated APIC is not tested for its timer, and its counter is the host's.
_EMULATED = ("no_timer_check", "tsc=reliable", "clocksource=tsc", "mitigations=off")
_DISTRIBUTION = ("nokaslr", "cryptomgr.notests", "audit=0", "lsm=landlock,yama")
# The driver is built in; the interface that it makes by itself is nobody's.
_OWN = ("dummy.numdummies=0",)
_OWN_EMULATED = ("noreplace-smp", "lapic_timer_khz=1000000")
_OVERHEAD_MIB = {OWN: 40, DISTRIBUTION: 88}
_ELF_MAGIC = b"\x7fELF"
_RELEASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_~-]{0,63}")


def find_kernel(config: Config, accelerator: Accelerator) -> GuestKernel:
    """The kernel of `config.kernel`: `auto`, `own`, `distribution` or a directory with `vmlinux` and `initrd`.

    A directory may hold `vmlinux-up` (the same for VMs with one CPU), `release` (what `uname -r` says), and `cmdline`
    with more words for the command line; a file `acpi` in it says that the kernel finds its devices by ACPI. Raises
    `NotFound` when nothing is built, and `InvalidArgument` for a directory that has not what it must.
    """
    choice = config.kernel
    if choice == "auto":
        choice = OWN if (config.guest_dir / OWN / "initrd").exists() else DISTRIBUTION
    if choice in (OWN, DISTRIBUTION):
        directory = config.guest_dir / choice
        if not (directory / "vmlinux").exists() or not (directory / "initrd").exists():
            target = "make kernel" if choice == OWN else "make guest"
            raise NotFound(f"the guest's kernel is not built: {directory} is incomplete", f"run {target}")
        return _built(choice, directory, accelerator)
    directory = Path(choice)
    if not directory.is_absolute():
        raise InvalidArgument(
            f"kernel: {choice!r} is none of auto, {OWN}, {DISTRIBUTION}", "or name a directory by its absolute path"
        )
    return _foreign(directory, accelerator)


def _built(name: str, directory: Path, accelerator: Accelerator) -> GuestKernel:
    words = list(_COMMON)
    words += _DISTRIBUTION if name == DISTRIBUTION else _OWN
    if accelerator.name != KVM:
        words += [*_EMULATED, *(_OWN_EMULATED if name == OWN else ()), *_clock()]
    return GuestKernel(
        name=name,
        vmlinux=_elf(directory / "vmlinux"),
        initrd=directory / "initrd",
        command_line=" ".join(words),
        acpi=name == DISTRIBUTION,
        overhead_mib=_OVERHEAD_MIB[name],
        release=_release(directory),
        uniprocessor=_uniprocessor(directory),
    )


def _foreign(directory: Path, accelerator: Accelerator) -> GuestKernel:
    for name in ("vmlinux", "initrd"):
        if not (directory / name).is_file():
            raise InvalidArgument(f"kernel: {directory} has no {name}", "see docs/adr/0004-guest-kernel.md")
    words = list(_COMMON)
    if accelerator.name != KVM:
        words += [*_EMULATED, *_clock()]
    extra = directory / "cmdline"
    if extra.is_file():
        words += extra.read_text()[:2048].split()
    return GuestKernel(
        name=directory.name,
        vmlinux=_elf(directory / "vmlinux"),
        initrd=directory / "initrd",
        command_line=" ".join(words),
        acpi=(directory / "acpi").exists(),
        overhead_mib=_OVERHEAD_MIB[DISTRIBUTION],
        release=_release(directory),
        uniprocessor=_uniprocessor(directory),
    )


def _clock() -> list[str]:
    """What an emulated guest cannot measure by itself; its delay loops follow from it."""
    khz = tsc_khz()
    return [] if khz is None else [f"tsc_early_khz={khz}"]


def _elf(path: Path) -> Path:
    with path.open("rb") as file:
        if file.read(4) != _ELF_MAGIC:
            raise InvalidArgument(f"{path} is no ELF kernel", "a bzImage is unpacked by guest/kernel/bzimage.py")
    return path


def _uniprocessor(directory: Path) -> Path | None:
    path = directory / "vmlinux-up"
    return _elf(path) if path.is_file() else None


def _release(directory: Path) -> str:
    try:
        text = (directory / "release").read_text()[:128].strip()
    except OSError:
        return "unknown"
    return text if _RELEASE.fullmatch(text) else "unknown"
