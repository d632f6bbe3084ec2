# SPDX-License-Identifier: Apache-2.0
"""What a `ContainerRequest` may say. Everything that can be refused without looking at the image or the machine.

The request is a user's: each string that ends up in a file, a kernel interface or another program's input is held to
the alphabet of that place.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Iterable, Mapping

from hypercell.base.errors import Conflict, InvalidArgument, Unsupported
from hypercell.base.ids import is_name
from hypercell.base.sizes import MIB, SIZES, size_named
from hypercell.cloud import capabilities, health, joins, signals, tmpfs
from hypercell.cloud.contract import ContainerRequest, LogSpec, PublishedPort, RestartPolicy
from hypercell.node.logs.rotation import FILES
from hypercell.vm.factory import Isolation

MIN_MEMORY = 6 * MIB
MAX_MEMORY = 1024**4
MAX_PUBLISHED = 1000
"""Host ports of one container: an image may expose all there are, and `--publish-all` must not take them."""
MAX_LOG_FILES = 1000
MAX_BINDS = 64
MAX_LABELS = 1000
MAX_LABEL_BYTES = 1024**2
"""Of one container, its image's included: every event carries them all."""
_ULIMITS = "as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack"
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,62}[A-Za-z0-9_])?")
_WORD = re.compile(r"[A-Za-z0-9_.:-]{1,255}")
_SYSCTL = re.compile(r"[A-Za-z0-9_.*/-]{1,255}")
_NAMESPACED = "msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced domainname"
_EXPOSED = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?")
SHAREABLE = ("pid", "ipc", "uts", "cgroup")
"""Namespaces of its VM that a container can be in."""
_DEVICE_RULE = re.compile(r"[acb] ([0-9]{1,8}|\*):([0-9]{1,8}|\*) [rwm]{1,3}", re.ASCII)
_POLICIES = ("no", "always", "on-failure", "unless-stopped")


def validate(request: ContainerRequest) -> None:
    """Raises `InvalidArgument`, `Conflict` (options that contradict each other), `Unsupported`."""
    if request.name:
        check_name(request.name)
    _check_process(request)
    if request.health is not None:
        health.check(request.health)
    _check_host_names(request)
    check_limits(request)
    _check_security(request)
    _check_files(request)
    check_restart(request.restart)
    if request.auto_remove and request.restart.name not in ("", "no"):
        raise Conflict("can't create 'AutoRemove' container with restart policy", "choose --rm or --restart")
    _check_network(request)
    joins.check(request)
    _check_log(request.log)


def _check_log(log: LogSpec) -> None:
    if not 0 <= log.files <= MAX_LOG_FILES:
        raise InvalidArgument(f"max-file is {log.files}", f"a log has {MAX_LOG_FILES} files at most")
    if log.file_size < 0 or (log.buffer is not None and log.buffer < 0):
        raise InvalidArgument("a log's size and its buffer cannot be negative")


def check_log_size(log: LogSpec, most: int) -> None:
    """*most*: bytes that the operator lets a container ask for."""
    asked = log.file_size * (log.files or FILES)
    if asked > most:
        words = f"a log of {asked} bytes is asked for, and one may have {most}"
        raise InvalidArgument(words, "lower max-size or max-file, or raise the daemon's setting log_most")


def check_name(name: str) -> None:
    if not is_name(name):
        words = f"Invalid container name ({_shown(name)}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        raise InvalidArgument(words, "at least two characters, at most 255")


def check_restart(policy: RestartPolicy) -> None:
    if policy.name not in (*_POLICIES, ""):
        raise InvalidArgument(f"invalid restart policy: unknown policy '{_shown(policy.name)}'", ", ".join(_POLICIES))
    if policy.maximum_retries < 0:
        raise InvalidArgument("invalid restart policy: maximum retry count cannot be negative")
    if policy.maximum_retries and policy.name != "on-failure":
        raise InvalidArgument("invalid restart policy: maximum retry count can only be used with 'on-failure'")


def check_process_strings(args: Iterable[str], env: Iterable[str], working_dir: str, user: str) -> None:
    """Of a container or of an exec."""
    for value in (*args, working_dir, user):
        _no_nul("the command line", value)
    for entry in env:
        _no_nul("the environment", entry)
        if not entry.partition("=")[0]:
            raise InvalidArgument(f"invalid environment variable: {_shown(entry)}", "NAME=value")
    if working_dir and not working_dir.startswith("/"):
        words = f"the working directory '{_shown(working_dir)}' is invalid, it needs to be an absolute path"
        raise InvalidArgument(words)
    if "\n" in user or len(user) > 512:
        raise InvalidArgument(f"invalid user {_shown(user)}", "user, uid, user:group or uid:gid")


def _check_process(request: ContainerRequest) -> None:
    args = (*(request.entrypoint or ()), *(request.command or ()))
    check_process_strings(args, request.env, request.working_dir, request.user)
    if request.stop_signal:
        signals.number(request.stop_signal)
    for limit in request.ulimits:
        if limit.name not in _ULIMITS.split():
            raise InvalidArgument(f"invalid ulimit type: {_shown(limit.name)}", f"choose one of {_ULIMITS}")
        if limit.hard != -1 and (limit.soft == -1 or limit.soft > limit.hard):
            words = f"ulimit soft limit must be less than or equal to hard limit: {limit.soft} > {limit.hard}"
            raise InvalidArgument(words)
        if min(limit.soft, limit.hard) < -1 or max(limit.soft, limit.hard) >= 2**63:
            raise InvalidArgument(f"ulimit {limit.name} is out of range")
    for group in request.group_add:
        if not group or len(group) > 255 or any(char in group for char in ":,\n\0"):
            raise InvalidArgument(f"invalid group {_shown(group)}", "the name of a group of the image, or a gid")


def _check_host_names(request: ContainerRequest) -> None:
    for what, name in (("hostname", request.hostname), ("domainname", request.domainname)):
        if name and not _HOST_NAME.fullmatch(name):
            raise InvalidArgument(f"invalid {what} format: {_shown(name)}", "letters, digits, '-', '.'; at most 64")
    if request.hostname and "uts" in request.vm_namespaces:
        raise InvalidArgument("conflicting options: hostname and the UTS mode")
    for entry in request.extra_hosts:
        name, _, address = entry.partition(":")
        if not _HOST_NAME.fullmatch(name):
            raise InvalidArgument(f"bad format for add-host: {_shown(entry)}", "NAME:ADDRESS")
        if address != "host-gateway":
            _address("add-host", address.strip("[]"))
    for server in request.dns:
        _address("dns", server)
    for what, words in (("dns search domain", request.dns_search), ("dns option", request.dns_options)):
        for word in words:
            if not _WORD.fullmatch(word):
                raise InvalidArgument(f"invalid {what} {_shown(word)}")


def check_limits(request: ContainerRequest) -> None:
    """Memory, CPUs and the like."""
    if request.size:
        size_named(request.size)
    if request.memory < 0 or 0 < request.memory < MIN_MEMORY:
        raise InvalidArgument("Minimum memory limit allowed is 6MB", f"or choose a size: {', '.join(SIZES)}")
    if request.memory > MAX_MEMORY:
        raise InvalidArgument("the memory limit is larger than any VM's memory")
    if request.nano_cpus < 0 or 0 < request.nano_cpus < 10**7:
        raise InvalidArgument("the number of CPUs must be at least 0.01")
    if request.cpu_shares < 0 or request.cpu_shares > 262144:
        raise InvalidArgument("the CPU shares must lie between 2 and 262144")
    if request.memory_reservation < 0 or 0 < request.memory_reservation < MIN_MEMORY:
        raise InvalidArgument("Minimum memory reservation allowed is 6MB")
    if 0 < request.memory < request.memory_reservation:
        raise InvalidArgument("Minimum memory limit can not be less than memory reservation limit, see usage")
    if request.shm_size < 0:
        raise InvalidArgument("SHM size can not be less than 0")
    if not -1000 <= request.oom_score_adj <= 1000:
        words = f"Invalid value {request.oom_score_adj}, range for oom score adj is [-1000, 1000]"
        raise InvalidArgument(words)
    if abs(request.pids_limit) >= 2**31:
        raise InvalidArgument("the pids limit is out of range")


def _check_security(request: ContainerRequest) -> None:
    if request.isolation and request.isolation not in list(Isolation):
        words = f"invalid isolation ({_shown(request.isolation)}): linux only supports 'default'"
        raise InvalidArgument(words, f"and hypercell {' and '.join(Isolation)}")
    capabilities.granted(request.cap_add, request.cap_drop, request.privileged)
    if not set(request.vm_namespaces) <= set(SHAREABLE):
        raise InvalidArgument(f"of its VM's namespaces a container can share {', '.join(SHAREABLE)}")
    for rule in request.device_rules:
        if not _DEVICE_RULE.fullmatch(rule):
            raise InvalidArgument(f"invalid device cgroup rule format: {_shown(rule)}", "such as 'c 10:200 rwm'")
    for name, value in request.sysctls.items():
        kernel, _, rest = name.partition("kernel.")
        own = name.startswith(("net.", "fs.mqueue.")) or (not kernel and rest in _NAMESPACED.split())
        if not own or not _SYSCTL.fullmatch(name) or ".." in name:
            raise InvalidArgument(f"sysctl '{_shown(name)}' is not allowed", "those of IPC and the network are")
        if not value.isprintable() or len(value) > 4096:
            raise InvalidArgument(f"invalid value for sysctl {name}")


def _check_files(request: ContainerRequest) -> None:
    for path, text in request.tmpfs.items():
        check_path("tmpfs", path)
        tmpfs.options(text)
    _check_mounts(request)
    for path in (*(request.masked_paths or ()), *(request.readonly_paths or ())):
        check_path("masked or read-only path", path)
    check_labels(request.labels)


def _check_mounts(request: ContainerRequest) -> None:
    taken = {posixpath.normpath(path) for path in request.tmpfs}
    for mount in request.mounts:
        check_target(mount.target)
        if mount.target in taken:
            raise InvalidArgument(f"Duplicate mount point: {mount.target}", "give each mount a place of its own")
        taken.add(mount.target)
        if mount.volume:
            check_volume_name(mount.volume)
        check_labels(mount.labels, "the volume has")
        steps = mount.subpath.split("/")
        if not mount.subpath.isprintable() or len(mount.subpath) > 1024 or ".." in steps or "," in mount.subpath:
            raise InvalidArgument("subpath must be a relative path within the volume", "without '..' and ','")
    _check_binds(request, taken)


def _check_binds(request: ContainerRequest, taken: set[str]) -> None:
    if len(request.binds) > MAX_BINDS:
        raise InvalidArgument(f"a container may have {MAX_BINDS} files and directories of this machine")
    for bind in request.binds:
        check_target(bind.target)
        check_path("bind source", bind.source)
        if bind.target in taken:
            raise InvalidArgument(f"Duplicate mount point: {bind.target}", "give each mount a place of its own")
        taken.add(bind.target)


def check_volume_name(name: str) -> None:
    if len(name) == 1:
        words = "volume name is too short, names should be at least two alphanumeric characters"
        raise InvalidArgument(f"create {_shown(name)}: {words}")
    if not is_name(name):
        shown = _shown(name)
        raise InvalidArgument(
            f'create {shown}: "{shown}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed',
            "If you intended to pass a host directory, use absolute path",
        )


def check_target(path: str) -> None:
    """Of a volume: normal, absolute, and no place that is the kernel's."""
    check_path("mount path", path)
    if path == "/" or path != posixpath.normpath(path):
        raise InvalidArgument("invalid specification: destination can't be '/'")
    if path == "/proc" or path.startswith("/proc/"):
        raise InvalidArgument(f"invalid mount path {_shown(path)}", "nothing can be mounted in /proc")


def check_labels(labels: Mapping[str, str], of: str = "the container and its image have") -> None:
    for key, value in labels.items():
        _no_nul("a label", key + value)
    if len(labels) > MAX_LABELS or sum(len(key) + len(value) for key, value in labels.items()) > MAX_LABEL_BYTES:
        words = f"{of} more than {MAX_LABELS} labels, or more than 1 MiB of them"
        raise InvalidArgument(words, "an image's labels can be removed only by building it again")


def check_path(what: str, path: str) -> None:
    """Absolute, and no way up."""
    if not path.startswith("/") or ".." in path.split("/") or not path.isprintable() or len(path) > 4095:
        raise InvalidArgument(f"invalid {what} {_shown(path)}", "give an absolute path")
    if what == "tmpfs" and path.rstrip("/") == "":
        raise InvalidArgument("invalid tmpfs: the destination can't be '/'")


def _check_network(request: ContainerRequest) -> None:
    if request.network == "host" or request.network.startswith("container:"):
        words = f"network mode {_shown(request.network)} is not supported"
        raise Unsupported(words, "a container in a VM has a network of its own: bridge, none, or one of yours")
    check_published_count(len(request.published))
    for port in request.published:
        check_published(port)
    for entry in request.exposed:
        exposed_ports(entry)


def check_published(port: PublishedPort) -> None:
    if port.protocol not in ("tcp", "udp"):
        raise Unsupported(f"cannot publish {_shown(port.protocol)} ports", "tcp and udp can be published")
    if not 1 <= port.container_port <= 65535 or not 0 <= port.host_port <= 65535:
        raise InvalidArgument(f"invalid port {port.container_port} -> {port.host_port}")
    if port.host_ip and (port.host_ip.count(".") != 3 or _address("host address", port.host_ip).version != 4):
        raise InvalidArgument(f"invalid host address {_shown(port.host_ip)}", "an IPv4 address of this host")


def check_published_count(count: int) -> None:
    if count > MAX_PUBLISHED:
        raise InvalidArgument(f"more than {MAX_PUBLISHED} ports would be published", "publish those that you need")


def exposed_ports(entry: str) -> list[tuple[int, str]]:
    """`80`, `80/tcp`, `8000-8005/udp`. Raises `InvalidArgument`."""
    match = _EXPOSED.fullmatch(entry)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if match is None or not 1 <= first <= last <= 65535:
        raise InvalidArgument(f"invalid port specification: {_shown(entry)}")
    return [(port, match[3] or "tcp") for port in range(first, last + 1)]


def _address(what: str, text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        if "%" in text:
            raise ValueError
        return ipaddress.ip_address(text)
    except ValueError:
        raise InvalidArgument(f"invalid {what}: {_shown(text)} is not an ip address") from None


def _no_nul(what: str, value: str) -> None:
    if "\0" in value:
        raise InvalidArgument(f"{what} contains a NUL byte")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidArgument(f"{what} is not valid Unicode") from None


def _shown(text: str) -> str:
    """For an error message: printable, and not longer than a line."""
    return "".join(char if char.isprintable() else "?" for char in text[:100])
