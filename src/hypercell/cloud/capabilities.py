# SPDX-License-Identifier: Apache-2.0
"""Linux capabilities (capabilities(7)) and docker's rules for adding and dropping them."""

from __future__ import annotations

from collections.abc import Sequence

from hypercell.base.errors import InvalidArgument

_NAMES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
_DEFAULT = """
CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL
AUDIT_WRITE
"""
ALL = tuple(f"CAP_{name}" for name in _NAMES.split())
"""In the kernel's order, numbers 0 to 40."""
DEFAULT = tuple(f"CAP_{name}" for name in _DEFAULT.split())
"""docker's 14."""


def granted(add: Sequence[str], drop: Sequence[str], privileged: bool) -> tuple[str, ...]:
    """What a container gets. A drop beats an add; ALL in one list stands for what the other does not name.

    Raises `InvalidArgument` for an unknown name.
    """
    adds, drops = _normalise("CapAdd", add), _normalise("CapDrop", drop)
    if privileged:
        return ALL
    if "ALL" in adds:
        chosen = [] if "ALL" in drops else list(ALL)
    else:
        chosen = [] if "ALL" in drops else list(DEFAULT)
        chosen += [name for name in adds if name not in chosen]
    if "ALL" in drops:
        drops = []
    return tuple(name for name in chosen if name not in drops)


def _normalise(member: str, names: Sequence[str]) -> list[str]:
    found = []
    for name in names:
        upper = name.upper()
        full = upper if upper == "ALL" or upper.startswith("CAP_") else f"CAP_{upper}"
        if full != "ALL" and full not in ALL:
            raise InvalidArgument(f'invalid {member}: unknown capability: "{full}"', "see capabilities(7)")
        found.append(full)
    return found
