# SPDX-License-Identifier: Apache-2.0
"""A resolved request as an OCI runtime-spec `config.json`: docker's defaults, in the VM's terms.

Namespaces are those that docker makes, but for the network: a VM has one of its own. Only a container on network
`none` gets another, in which there is nothing but a loopback.
"""

from __future__ import annotations

from typing import Any

from hypercell.base.digits import is_digits
from hypercell.cloud import capabilities, mounts, seccomp
from hypercell.cloud.contract import ContainerRequest, ExecRequest
from hypercell.cloud.resolve import Resolved, process_env

Json = dict[str, Any]
VERSION = "1.2.1"
CPU_PERIOD = 100_000
_INFINITY = 2**64 - 1

_DEFAULT_RULES: tuple[Json, ...] = (
    {"allow": False, "access": "rwm"},
    # A node may be made of any device, and opened of these: null, zero, full, random, urandom, tty, console, ptmx, pts.
    {"allow": True, "type": "c", "access": "m"},
    {"allow": True, "type": "b", "access": "m"},
    *(
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2))
    ),
    {"allow": True, "type": "c", "major": 136, "access": "rwm"},
)
_PRIVILEGED_DEVICES = (
    ("/dev/kmsg", 1, 11, 0o644),
    ("/dev/fuse", 10, 229, 0o666),
    ("/dev/net/tun", 10, 200, 0o666),
    ("/dev/loop-control", 10, 237, 0o660),
)


def config(resolved: Resolved, kernel: str) -> Json:
    """*kernel*: the guest's `uname -r`. Raises `InvalidArgument` (the seccomp profile)."""
    request = resolved.request
    granted = capabilities.granted(request.cap_add, request.cap_drop, request.privileged)
    document: Json = {
        "ociVersion": VERSION,
        "process": _process(resolved, granted),
        "root": {"path": "rootfs", "readonly": request.read_only},
        "mounts": mounts.mounts(request, resolved.mounts),
        "linux": _linux(resolved, granted, kernel),
    }
    if "uts" not in request.vm_namespaces:  # else its name is the VM's, which is the same
        document["hostname"] = request.hostname
        if request.domainname:
            document["domainname"] = request.domainname
    return document


def _process(resolved: Resolved, granted: tuple[str, ...]) -> Json:
    request = resolved.request
    user: Json = {"username": resolved.user or "0"}
    if request.group_add:
        user["additionalGids"] = [int(group) if is_digits(group) else group for group in request.group_add]
    return {
        "terminal": request.tty,
        "user": user,
        "args": list(resolved.args),
        "env": process_env(resolved.env, request.hostname, request.tty),
        "cwd": resolved.working_dir,
        "capabilities": _capabilities(granted),
        "rlimits": [
            {"type": f"RLIMIT_{limit.name.upper()}", "soft": _limit(limit.soft), "hard": _limit(limit.hard)}
            for limit in request.ulimits
        ],
        "noNewPrivileges": request.no_new_privileges,
        "oomScoreAdj": request.oom_score_adj,
    }


def _capabilities(granted: tuple[str, ...]) -> Json:
    # Nothing is inheritable or ambient: a program of another user than root gets none (docker since 20.10.14).
    names = list(granted)
    return {"bounding": names, "effective": names, "permitted": names}


def _limit(value: int) -> int:
    return _INFINITY if value == -1 else value


def _linux(resolved: Resolved, granted: tuple[str, ...], kernel: str) -> Json:
    request = resolved.request
    linux: Json = {
        "namespaces": _namespaces(request),
        "resources": resources(resolved),
        "sysctl": {name: value for name, value in request.sysctls.items() if name not in machine_sysctls(request)},
        "maskedPaths": mounts.masked(request),
        "readonlyPaths": mounts.read_only(request),
    }
    if request.privileged:
        linux["devices"] = [
            {"path": path, "type": "c", "major": major, "minor": minor, "fileMode": mode, "uid": 0, "gid": 0}
            for path, major, minor, mode in _PRIVILEGED_DEVICES
        ]
    profile = seccomp.UNCONFINED if request.privileged and not request.seccomp else request.seccomp
    if (filters := seccomp.resolve(profile, granted, kernel)) is not None:
        linux["seccomp"] = filters
    return linux


def _namespaces(request: ContainerRequest) -> list[Json]:
    joined = dict(request.joins)
    own = ["pid", "ipc", "uts", "mount", "cgroup"]
    if request.network == "none" and "network" not in joined:
        own.append("network")
    elif joined:  # whoever lives in a VM of another's pod is on the network of that one
        joined.setdefault("network", next(iter(joined.values())))
    found: list[Json] = [{"type": kind} for kind in own if kind not in request.vm_namespaces and kind not in joined]
    return [*found, *({"type": kind, "path": f"container:{ident}"} for kind, ident in joined.items())]


def machine_sysctls(request: ContainerRequest) -> dict[str, str]:
    """Those of the network, where the container's network is that of its VM."""
    own = request.network == "none"
    return {name: value for name, value in request.sysctls.items() if name.startswith("net.") and not own}


def resources(resolved: Resolved) -> Json:
    """OCI `linux.resources`: the container's share of its VM."""
    request = resolved.request
    rules = [{"allow": True, "access": "rwm"}] if request.privileged else [dict(rule) for rule in _DEFAULT_RULES]
    rules += [_device_rule(rule) for rule in request.device_rules]
    found: Json = {"memory": {"limit": resolved.memory}, "devices": rules}
    if request.memory_reservation:
        found["memory"]["reservation"] = request.memory_reservation
    cpu: Json = {}
    if request.nano_cpus:
        cpu |= {"quota": request.nano_cpus * CPU_PERIOD // 10**9, "period": CPU_PERIOD}
    if request.cpu_shares:
        cpu["shares"] = max(2, request.cpu_shares)
    if request.cpuset_cpus and resolved.vcpus > 1:  # a kernel for one processor has none to choose from
        cpu["cpus"] = request.cpuset_cpus
    if cpu:
        found["cpu"] = cpu
    if request.pids_limit:  # negative: no limit, where there was one
        found["pids"] = {"limit": request.pids_limit}
    return found


def _device_rule(rule: str) -> Json:
    kind, numbers, access = rule.split()
    found: Json = {"allow": True, "type": kind, "access": access}
    for name, number in zip(("major", "minor"), numbers.split(":"), strict=True):
        if number != "*":
            found[name] = int(number)
    return found


def exec_process(container: Json, request: ExecRequest) -> Json:
    """An OCI process for an exec in a container whose process is *container*."""
    env = {entry.partition("=")[0]: entry for entry in container["env"]}
    if request.tty:
        env.setdefault("TERM", "TERM=xterm")
    for entry in request.env:
        name, equals, _ = entry.partition("=")
        if equals:
            env[name] = entry
        else:
            env.pop(name, None)
    process: Json = {
        **container,
        "terminal": request.tty,
        "args": list(request.args),
        "env": list(env.values()),
        "cwd": request.working_dir or container["cwd"],
    }
    if request.user:
        process["user"] = {**container["user"], "username": request.user}
    if request.privileged:
        process["capabilities"] = _capabilities(capabilities.ALL)
    return process
