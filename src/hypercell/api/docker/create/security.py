# SPDX-License-Identifier: Apache-2.0
"""Capabilities and `SecurityOpt`."""

from __future__ import annotations

from typing import Any

from hypercell.api.docker.documents import Fields, load_json
from hypercell.base.errors import InvalidArgument, Unsupported
from hypercell.vm.factory import Isolation

_CAPABILITIES = frozenset(
    [
        "ALL",
        "AUDIT_CONTROL",
        "AUDIT_READ",
        "AUDIT_WRITE",
        "BLOCK_SUSPEND",
        "BPF",
        "CHECKPOINT_RESTORE",
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "IPC_LOCK",
        "IPC_OWNER",
        "KILL",
        "LEASE",
        "LINUX_IMMUTABLE",
        "MAC_ADMIN",
        "MAC_OVERRIDE",
        "MKNOD",
        "NET_ADMIN",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_RAW",
        "PERFMON",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYSLOG",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_CHROOT",
        "SYS_MODULE",
        "SYS_NICE",
        "SYS_PACCT",
        "SYS_PTRACE",
        "SYS_RAWIO",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "WAKE_ALARM",
    ]
)
_TRUE, _FALSE = ("", "true", "1"), ("false", "0")


def parse_isolation(fields: Fields) -> str:
    """docker's `Isolation`, which says nothing on Linux; here, whether a container's VM may share pages as a clone."""
    isolation = fields.text("Isolation")
    if isolation in ("", "default"):
        return ""
    if isolation not in list(Isolation):
        words = f"invalid isolation ({isolation[:100]}): linux only supports 'default'"
        raise InvalidArgument(words, f"and hypercell {' and '.join(Isolation)}")
    return isolation


def parse_capabilities(fields: Fields, key: str) -> tuple[str, ...]:
    """Names as the kernel's header writes them (`CAP_NET_ADMIN`), and `ALL`."""
    names = []
    for given in fields.texts(key, limit=200, size=64) or ():
        name = given.upper().removeprefix("CAP_")
        if name not in _CAPABILITIES:
            raise InvalidArgument(f'invalid {key}: unknown capability: "CAP_{name}"')
        names.append(name if name == "ALL" else f"CAP_{name}")
    return tuple(dict.fromkeys(names))


def parse_security_options(fields: Fields) -> tuple[dict[str, Any], list[str]]:
    """`no_new_privileges` and `seccomp` of a request, and the options as given."""
    options = list(fields.texts("SecurityOpt", limit=20, size=1024 * 1024) or ())
    request: dict[str, Any] = {}
    for option in options:
        equals, colon = option.find("="), option.find(":")
        cut = min((at for at in (equals, colon) if at >= 0), default=len(option))
        name, value = option[:cut], option[cut + 1 :]
        if name == "no-new-privileges":
            request["no_new_privileges"] = _truth(option, value)
        elif name == "seccomp":
            request["seccomp"] = _seccomp(value)
        elif (name, value) not in (("apparmor", "unconfined"), ("label", "disable")):
            # The guest's kernel has neither AppArmor nor SELinux, so to switch them off is the truth.
            known = name in ("apparmor", "label", "systempaths", "writable-cgroups")
            error = Unsupported if known else InvalidArgument
            raise error(f"{fields.name('SecurityOpt')} {option[:100]!r} is not {'built yet' if known else 'known'}")
    return request, options


def _truth(option: str, value: str) -> bool:
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise InvalidArgument(f"invalid --security-opt: {option[:100]!r}")


def _seccomp(value: str) -> str:
    if value in ("unconfined",):
        return value
    if value in ("", "builtin"):
        return ""
    if not isinstance(load_json(value.encode(), "SecurityOpt seccomp"), dict):
        raise InvalidArgument("SecurityOpt seccomp: a profile is a JSON object")
    return value
