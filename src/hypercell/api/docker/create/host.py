# SPDX-License-Identifier: Apache-2.0
"""The host's half of a create request: docker's `HostConfig`."""

from __future__ import annotations

from typing import Any

from hypercell.api.docker.create.joining import parse_joins
from hypercell.api.docker.create.logging import parse_logging
from hypercell.api.docker.create.mounts import parse_host_mounts
from hypercell.api.docker.create.networking import parse_names, parse_network_mode
from hypercell.api.docker.create.ports import parse_bindings
from hypercell.api.docker.create.refused import (
    check_modes,
    refuse_what_is_not_built,
    vm_namespaces,
    warn_of_the_meaningless,
)
from hypercell.api.docker.create.resources import parse_disk_size, parse_resources, parse_ulimits
from hypercell.api.docker.create.security import parse_capabilities, parse_isolation, parse_security_options
from hypercell.api.docker.documents import Fields
from hypercell.base.errors import InvalidArgument
from hypercell.cloud.contract import RestartPolicy

_POLICIES = ("no", "always", "on-failure", "unless-stopped")
_DEFAULT_SHM = 64 * 1024 * 1024


def parse_host_config(fields: Fields, echo: dict[str, Any], warnings: list[str]) -> dict[str, Any]:
    """Members of a `ContainerRequest`; what only an inspection shows goes to *echo*."""
    refuse_what_is_not_built(fields)
    warnings += warn_of_the_meaningless(fields)
    modes = check_modes(fields)
    echo.update({name: mode for name, mode in modes.items() if mode})
    network = fields.text("NetworkMode")
    joins = parse_joins({**modes, "NetworkMode": network})
    fields.text("ContainerIDFile")  # the client's own affair
    if console := _console_size(fields):
        echo["ConsoleSize"] = console
    if annotations := fields.text_mapping("Annotations"):
        if "" in annotations:
            raise InvalidArgument("invalid Annotations: the empty string is not permitted as an annotation key")
        echo["Annotations"] = annotations
    published, echo["PortBindings"] = parse_bindings(fields)
    security, options = parse_security_options(fields)
    if options:
        echo["SecurityOpt"] = options
    resources = parse_resources(fields)
    warnings += resources.warnings
    if resources.cpuset_mems:
        echo["CpusetMems"] = resources.cpuset_mems
    quota = {"CpuPeriod": resources.cpu_period, "CpuQuota": resources.cpu_quota}
    echo.update({name: value for name, value in quota.items() if value})
    init = fields.optional_flag("Init")
    if init is not None:
        echo["Init"] = init
    restart = parse_restart(fields) or RestartPolicy()
    request = {
        "network": parse_network_mode("" if "network" in joins else network),
        "joins": joins,
        "ipc_shareable": modes["IpcMode"] == "shareable",
        "published": published,
        "publish_all": fields.flag("PublishAllPorts"),
        "restart": restart,
        "auto_remove": fields.flag("AutoRemove"),
        "log": parse_logging(fields, echo),
        "memory": resources.memory,
        "nano_cpus": resources.nano_cpus,
        "cpu_shares": resources.cpu_shares,
        "cpuset_cpus": resources.cpuset_cpus,
        "memory_reservation": resources.memory_reservation,
        "pids_limit": resources.pids_limit,
        "ulimits": parse_ulimits(fields),
        "cap_add": parse_capabilities(fields, "CapAdd"),
        "cap_drop": parse_capabilities(fields, "CapDrop"),
        "privileged": fields.flag("Privileged"),
        "isolation": parse_isolation(fields),
        "masked_paths": fields.texts("MaskedPaths"),
        "readonly_paths": fields.texts("ReadonlyPaths"),
        "group_add": fields.texts("GroupAdd", limit=1000, size=256) or (),
        "oom_score_adj": _oom_score(fields),
        "sysctls": fields.text_mapping("Sysctls"),
        "read_only": fields.flag("ReadonlyRootfs"),
        **parse_host_mounts(fields, echo),
        "shm_size": fields.number("ShmSize", low=0) or _DEFAULT_SHM,
        "no_shm": modes["IpcMode"] == "none",
        "vm_namespaces": vm_namespaces(modes),
        "disk_size": parse_disk_size(fields),
        "device_rules": fields.texts("DeviceCgroupRules", limit=100, size=64) or (),
        "init": bool(init),
        **parse_names(fields),
        **security,
    }
    fields.finish()
    if request["auto_remove"] and restart.name != "no":
        raise InvalidArgument("can't create 'AutoRemove' container with restart policy")
    return request


def parse_restart(fields: Fields) -> RestartPolicy | None:
    """`RestartPolicy`, of a create request or an update; None when it names none."""
    policy = fields.object("RestartPolicy")
    if policy is None:
        return None
    name = policy.text("Name", limit=32)
    retries = policy.number("MaximumRetryCount", high=1 << 31)
    policy.finish()
    if name and name not in _POLICIES:
        known = "use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        raise InvalidArgument(f"invalid restart policy: unknown policy '{name}'; {known}")
    if retries < 0:
        raise InvalidArgument("invalid restart policy: maximum retry count cannot be negative")
    if retries and name != "on-failure":
        raise InvalidArgument("invalid restart policy: maximum retry count can only be used with 'on-failure'")
    return RestartPolicy(name, retries) if name else None


def _console_size(fields: Fields) -> list[int] | None:
    size = fields.items("ConsoleSize", limit=2)
    if not size:
        return None
    if len(size) != 2 or not all(type(value) is int and 0 <= value < 65536 for value in size):
        raise InvalidArgument(f"{fields.name('ConsoleSize')}: must be [rows, columns]")
    return size


def _oom_score(fields: Fields) -> int:
    score = fields.number("OomScoreAdj")
    if not -1000 <= score <= 1000:
        raise InvalidArgument(f"Invalid value {score}, range for oom score adj is [-1000, 1000]")
    return score
