# SPDX-License-Identifier: Apache-2.0
"""A container as `GET /containers/{id}/json` shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypercell.api.docker.create.joining import shown_modes
from hypercell.api.docker.create.mounts import target
from hypercell.api.docker.times import rfc3339
from hypercell.base.ids import short
from hypercell.cloud import mounts
from hypercell.cloud.contract import ContainerRequest, ContainerView, Health, HealthRequest, Place, Status, Trace
from hypercell.cloud.health import MEMBERS
from hypercell.node.network import BRIDGE, NONE, PublishedPort

Json = dict[str, Any]
_ALIVE = (Status.RUNNING, Status.PAUSED, Status.RESTARTING)

# What docker shows for a HostConfig that says nothing.
_HOST_DEFAULTS: Json = {
    "Binds": None,
    "ContainerIDFile": "",
    "LogConfig": {"Type": "json-file", "Config": {}},
    "NetworkMode": "bridge",
    "PortBindings": {},
    "VolumeDriver": "",
    "VolumesFrom": None,
    "ConsoleSize": [0, 0],
    "CgroupnsMode": "private",
    "IpcMode": "private",
    "Cgroup": "",
    "Links": None,
    "PidMode": "",
    "SecurityOpt": None,
    "UTSMode": "",
    "UsernsMode": "",
    "Runtime": "hypercell",
    "CgroupParent": "",
    "BlkioWeight": 0,
    "BlkioWeightDevice": None,
    "BlkioDeviceReadBps": None,
    "BlkioDeviceWriteBps": None,
    "BlkioDeviceReadIOps": None,
    "BlkioDeviceWriteIOps": None,
    "CpuPeriod": 0,
    "CpuQuota": 0,
    "CpuRealtimePeriod": 0,
    "CpuRealtimeRuntime": 0,
    "CpusetMems": "",
    "Devices": None,
    "DeviceRequests": None,
    "MemorySwap": 0,
    "MemorySwappiness": None,
    "OomKillDisable": None,
    "CpuCount": 0,
    "CpuPercent": 0,
    "IOMaximumIOps": 0,
    "IOMaximumBandwidth": 0,
}


def is_alive(view: ContainerView) -> bool:
    """docker's `Running`: paused and about to be restarted included."""
    return view.state.status in _ALIVE


def inspect_json(view: ContainerView) -> Json:
    request = view.request
    document: Json = {
        "Id": view.id,
        "Created": rfc3339(view.created_ns),
        "Path": view.args[0] if view.args else "",
        "Args": list(view.args[1:]),
        "State": state_json(view),
        "Image": view.image_id,
        "ResolvConfPath": "",
        "HostnamePath": "",
        "HostsPath": "",
        "LogPath": "",
        "Name": f"/{view.name}",
        "RestartCount": view.state.restart_count,
        "Driver": "erofs",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": list(view.exec_ids) or None,
        "HostConfig": host_config_json(request),
        "GraphDriver": {"Name": "erofs", "Data": {}},
        "Mounts": mounts_json(view),
        "Config": config_json(view),
        "NetworkSettings": network_settings_json(view),
        "Hypercell": hypercell_json(view),
    }
    if view.size_rw is not None:
        document["SizeRw"] = view.size_rw
        document["SizeRootFs"] = view.size_root or 0
    return document


def mounts_json(view: ContainerView) -> list[Json]:
    """Its volumes, what it has of the host, and such tmpfs as stand among `HostConfig.Mounts`."""
    volumes = [
        {
            "Type": "volume",
            "Name": mount.name,
            "Source": "",
            "Destination": mount.target,
            "Driver": "local",
            "Mode": mount.mode,
            "RW": not mount.read_only,
            "Propagation": "",
        }
        for mount in view.mounts
    ]
    binds = [
        {
            "Type": "bind",
            "Source": bind.source,
            "Destination": bind.target,
            "Mode": bind.mode,
            "RW": not bind.read_only,
            "Propagation": "rprivate",
        }
        for bind in view.request.binds
    ]
    asked = view.request.door.get("HostConfig", {}).get("Mounts", ())
    tmpfs = [
        {
            "Type": "tmpfs",
            "Source": "",
            "Destination": target(mount["Target"]),
            "Mode": "",
            "RW": not mount.get("ReadOnly", False),
            "Propagation": "",
        }
        for mount in asked
        if mount["Type"] == "tmpfs"
    ]
    return sorted([*volumes, *binds, *tmpfs], key=lambda mount: str(mount["Destination"]))


def hypercell_json(view: ContainerView) -> Json:
    """What docker has no word for: the VM, how its start went, and what keeps a start waiting."""
    document: Json = {"Size": view.request.size, **view.vm, "Trace": trace_json(view.trace) if view.trace else None}
    if (waiting := view.waiting) is not None:
        since = rfc3339(waiting.since_ns)
        document["Waiting"] = {"Reason": waiting.reason, "Since": since, "Position": waiting.position}
    return document


def trace_json(trace: Trace) -> Json:
    """Times in milliseconds, those of the steps after the begin."""
    return {
        "Way": trace.way,
        "Note": trace.note,
        "Failed": trace.outcome,
        "Total": _milliseconds(trace.total),
        "Steps": [
            {"Name": step.name, "Start": _milliseconds(step.start), "Took": _milliseconds(step.took)}
            for step in list(trace.steps)
        ],
    }


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 2)


def state_json(view: ContainerView) -> Json:
    state = view.state
    document: Json = {
        "Status": str(state.status),
        "Running": is_alive(view),
        "Paused": state.status == Status.PAUSED,
        "Restarting": state.status == Status.RESTARTING,
        "OOMKilled": state.oom_killed,
        "Dead": state.status == Status.DEAD,
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": rfc3339(state.started_ns),
        "FinishedAt": rfc3339(state.finished_ns),
    }
    if state.health is not None:
        document["Health"] = health_json(state.health)
    return document


def health_json(health: Health) -> Json:
    return {
        "Status": str(health.status),
        "FailingStreak": health.failing_streak,
        "Log": [
            {
                "Start": rfc3339(result.start_ns),
                "End": rfc3339(result.end_ns),
                "ExitCode": result.exit_code,
                "Output": result.output,
            }
            for result in health.log
        ],
    }


def config_json(view: ContainerView) -> Json:
    request = view.request
    echo: Json = dict(request.door.get("Config", {}))
    document: Json = {
        "Hostname": request.hostname or short(view.id),
        "Domainname": request.domainname,
        "User": view.user,
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "Tty": request.tty,
        "OpenStdin": request.open_stdin,
        "StdinOnce": request.stdin_once,
        "Env": list(view.env),
        "Cmd": _command(view),
        "Image": request.image,
        "Volumes": {path: {} for path in request.volumes} or None,
        "WorkingDir": view.working_dir,
        "Entrypoint": list(request.entrypoint) if request.entrypoint else None,
        "OnBuild": None,
        "Labels": dict(request.labels),
    }
    if request.exposed:
        document["ExposedPorts"] = {port: {} for port in sorted(set(request.exposed))}
    if view.stop_signal != "SIGTERM" or request.stop_signal:
        document["StopSignal"] = view.stop_signal
    if request.stop_timeout is not None:
        document["StopTimeout"] = request.stop_timeout
    if request.health is not None:
        document["Healthcheck"] = health_check_json(request.health)
    if request.shell:
        document["Shell"] = list(request.shell)
    return document | echo


def health_check_json(health: HealthRequest) -> Json:
    """Without what it leaves open, as docker."""
    values = {docker: getattr(health, name) for name, docker in MEMBERS.items()}
    return {docker: list(value) if docker == "Test" else value for docker, value in values.items() if value}


def _command(view: ContainerView) -> list[str] | None:
    if view.request.command is not None:
        return list(view.request.command) or None
    return list(view.args[len(view.request.entrypoint or ()) :]) or None


def host_config_json(request: ContainerRequest) -> Json:
    echo: Json = dict(request.door.get("HostConfig", {}))
    if request.publish_all:
        asked = echo.get("PortBindings") or {}
    else:
        asked = echo.get("PortBindings") or _bindings(request.published, known=False)
    return {
        **_HOST_DEFAULTS,
        **echo,
        **({"Sysctls": dict(request.sysctls)} if request.sysctls else {}),
        "PortBindings": asked,
        "NetworkMode": request.network,
        **shown_modes(request.joins),
        "RestartPolicy": {
            "Name": request.restart.name,
            "MaximumRetryCount": request.restart.maximum_retries,
        },
        "AutoRemove": request.auto_remove,
        "CapAdd": list(request.cap_add) or None,
        "CapDrop": list(request.cap_drop) or None,
        "Dns": list(request.dns),
        "DnsOptions": list(request.dns_options),
        "DnsSearch": list(request.dns_search),
        "ExtraHosts": list(request.extra_hosts) or None,
        "GroupAdd": list(request.group_add) or None,
        "OomScoreAdj": request.oom_score_adj,
        "Isolation": request.isolation,
        "Privileged": request.privileged,
        "PublishAllPorts": request.publish_all,
        "ReadonlyRootfs": request.read_only,
        "ShmSize": request.shm_size,
        **({"StorageOpt": {"size": str(request.disk_size)}} if request.disk_size else {}),
        "CpuShares": request.cpu_shares,
        "CpusetCpus": request.cpuset_cpus,
        "Memory": request.memory,
        "MemoryReservation": request.memory_reservation,
        "DeviceCgroupRules": list(request.device_rules) or None,
        "NanoCpus": 0 if echo.get("CpuQuota", 0) > 0 else request.nano_cpus,
        "PidsLimit": request.pids_limit if request.pids_limit > 0 else None,
        "Ulimits": [{"Name": u.name, "Hard": u.hard, "Soft": u.soft} for u in request.ulimits] or None,
        "MaskedPaths": _paths(request, request.masked_paths, mounts.masked),
        "ReadonlyPaths": _paths(request, request.readonly_paths, mounts.read_only),
    }


def network_mode(request: ContainerRequest) -> str:
    return shown_modes(request.joins).get("NetworkMode", request.network)


def _paths(
    request: ContainerRequest, given: tuple[str, ...] | None, hidden: Callable[[ContainerRequest], list[str]]
) -> list[str] | None:
    """What is hidden or read-only in the container; for a privileged one nothing was decided, as docker shows it."""
    return None if given is None and request.privileged else hidden(request)


def _exposed(request: ContainerRequest) -> list[str]:
    ports = [*request.exposed, *(f"{port.container_port}/{port.protocol}" for port in request.published)]
    return sorted(set(ports))


def _bindings(published: tuple[PublishedPort, ...], known: bool) -> dict[str, list[dict[str, str]]]:
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in published:
        host_port = str(port.host_port) if port.host_port or known else ""
        entry = {"HostIp": port.host_ip, "HostPort": host_port}
        bindings.setdefault(f"{port.container_port}/{port.protocol}", []).append(entry)
    return bindings


def endpoint_json(view: ContainerView, place: Place) -> Json:
    """The container's place on a network; addresses only while it runs, as docker."""
    alive, wish = is_alive(view), place.wish
    address, _, length = place.address.partition("/")
    own = place.network not in (BRIDGE, NONE)
    names = (view.name, *wish.aliases, short(view.id), view.request.hostname) if own else ()
    return {
        "IPAMConfig": {"IPv4Address": wish.address} if wish.address else {} if own else None,
        "Links": None,
        "Aliases": list(wish.aliases) or None,
        "MacAddress": place.mac if alive and address else "",
        "DriverOpts": None,
        "GwPriority": 0,
        "NetworkID": place.network if view.state.started_ns else "",
        "EndpointID": view.port.id if alive else "",
        "Gateway": place.gateway if alive else "",
        "IPAddress": address if alive else "",
        "IPPrefixLen": int(length or 0) if alive else 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "DNSNames": list(dict.fromkeys(filter(None, names))) or None,
    }


def endpoints_json(view: ContainerView) -> Json:
    """None of who is on the networks of another container."""
    return {place.name: endpoint_json(view, place) for place in view.port.places}


def ports_json(view: ContainerView) -> list[Json]:
    if not is_alive(view):
        return []
    published = [
        {"IP": p.host_ip, "PrivatePort": p.container_port, "PublicPort": p.host_port, "Type": p.protocol}
        for p in view.port.published
    ]
    taken = {(port["PrivatePort"], port["Type"]) for port in published}
    exposed = [(int(number), protocol) for number, _, protocol in (p.partition("/") for p in view.request.exposed)]
    only_exposed = [{"PrivatePort": n, "Type": protocol} for n, protocol in exposed if (n, protocol) not in taken]
    return [*published, *only_exposed]


def network_settings_json(view: ContainerView) -> Json:
    endpoints = endpoints_json(view)
    ports: Json = {}
    if is_alive(view) and endpoints and "none" not in endpoints:
        ports = dict.fromkeys(_exposed(view.request)) | _bindings(view.port.published, known=True)
    bridged = endpoints.get("bridge", {})
    return {
        "Bridge": "",
        "SandboxID": view.port.id if is_alive(view) else "",
        "SandboxKey": "",
        "Ports": ports,
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "EndpointID": bridged.get("EndpointID", ""),
        "Gateway": bridged.get("Gateway", ""),
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPAddress": bridged.get("IPAddress", ""),
        "IPPrefixLen": bridged.get("IPPrefixLen", 0),
        "IPv6Gateway": "",
        "MacAddress": bridged.get("MacAddress", ""),
        "Networks": endpoints,
    }
