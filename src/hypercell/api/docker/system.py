# SPDX-License-Identifier: Apache-2.0
"""The engine itself: ping, version, info, disk usage, events."""

from __future__ import annotations

import asyncio
import platform
import time
from pathlib import Path
from typing import Any

from hypercell import __version__
from hypercell.api.docker.container_list import summary_json as container_json
from hypercell.api.docker.create.logging import DEFAULT_DRIVER, DRIVERS
from hypercell.api.docker.engine import Call, Engine
from hypercell.api.docker.events import stream_events
from hypercell.api.docker.image_view import is_step, shared_sizes
from hypercell.api.docker.image_view import summary_json as image_json
from hypercell.api.docker.times import rfc3339
from hypercell.api.docker.version import NEWEST_TEXT, OLDEST_TEXT
from hypercell.api.docker.volumes import DRIVER, volume_json
from hypercell.api.http import Response, Route, Version, json_response
from hypercell.base.errors import InvalidArgument
from hypercell.cloud.contract import Status

Json = dict[str, Any]
_PING_HEADERS = (
    ("Builder-Version", "1"),
    ("Cache-Control", "no-cache, no-store, must-revalidate"),
    ("Pragma", "no-cache"),
    ("Swarm", "inactive"),
)
_OBJECTS = ("container", "image", "volume", "build-cache")


async def ping(call: Call) -> Response:
    return Response(200, b"OK", "text/plain; charset=utf-8", _PING_HEADERS)


async def head_ping(call: Call) -> Response:
    return Response(200, b"", "text/plain; charset=utf-8", _PING_HEADERS)


async def version(call: Call) -> Response:
    facts = call.app.facts
    common = {
        "Version": __version__,
        "ApiVersion": NEWEST_TEXT,
        "MinAPIVersion": OLDEST_TEXT,
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": facts.architecture,
        "KernelVersion": facts.kernel,
        "BuildTime": "",
    }
    hypervisor = facts.hypervisor()
    components = [
        {
            "Name": "Engine",
            "Version": __version__,
            "Details": {
                **{key: value for key, value in common.items() if key != "Version"},
                "Experimental": "false",
                "PythonVersion": platform.python_version(),
            },
        },
        {"Name": "Guest kernel", "Version": hypervisor.get("Guest Kernel", ""), "Details": dict(hypervisor)},
    ]
    return json_response({"Platform": {"Name": "hypercell"}, "Components": components, **common})


async def info(call: Call) -> Response:
    engine, facts = call.app, call.app.facts
    views = await engine.containers.list(engine.tenant, all=True)
    images = await engine.images.list(engine.tenant)
    states = [view.state.status for view in views]
    running = sum(state in (Status.RUNNING, Status.RESTARTING) for state in states)
    paused = states.count(Status.PAUSED)
    forwarding = await asyncio.to_thread(_ip_forward)
    document: Json = {
        "ID": facts.machine_id,
        "Containers": len(states),
        "ContainersRunning": running,
        "ContainersPaused": paused,
        "ContainersStopped": len(states) - running - paused,
        "Images": len(images),
        "Driver": "erofs",
        "DriverStatus": [["Backing", str(engine.config.root)], *([k, v] for k, v in facts.hypervisor().items())],
        "Plugins": {"Volume": [DRIVER], "Network": ["bridge", "null"], "Authorization": None, "Log": list(DRIVERS)},
        "MemoryLimit": True,
        "SwapLimit": False,
        "CpuCfsPeriod": True,
        "CpuCfsQuota": True,
        "CPUShares": True,
        "CPUSet": True,
        "PidsLimit": True,
        "IPv4Forwarding": forwarding,
        "Debug": False,
        "NFd": len(list(Path("/proc/self/fd").iterdir())),
        "OomKillDisable": False,
        "NGoroutines": len(asyncio.all_tasks()),
        "SystemTime": rfc3339(time.time_ns()),
        "LoggingDriver": DEFAULT_DRIVER,
        "CgroupDriver": "none",
        "CgroupVersion": "2",
        "NEventsListener": 0,
        "KernelVersion": facts.kernel,
        "OperatingSystem": facts.system,
        "OSVersion": "",
        "OSType": "linux",
        "Architecture": facts.machine,
        "IndexServerAddress": "",
        "RegistryConfig": registries_json(engine),
        "NCPU": facts.cpus,
        "MemTotal": facts.memory,
        "GenericResources": None,
        "DockerRootDir": str(engine.config.root),
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "Name": facts.name,
        "Labels": [],
        "ExperimentalBuild": False,
        "ServerVersion": __version__,
        "Runtimes": {"hypercell": {"path": "hypercell"}},
        "DefaultRuntime": "hypercell",
        "Swarm": {
            "NodeID": "",
            "NodeAddr": "",
            "LocalNodeState": "inactive",
            "ControlAvailable": False,
            "Error": "",
            "RemoteManagers": None,
        },
        "LiveRestoreEnabled": True,
        "Isolation": "",
        "InitBinary": "",
        "ContainerdCommit": {"ID": ""},
        "RuncCommit": {"ID": ""},
        "InitCommit": {"ID": ""},
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
        "CDISpecDirs": None,
        "Warnings": None,
        "Hypercell": dict(facts.hypervisor()),
    }
    return json_response(_for_older(document, call.version))


def _for_older(document: Json, version: Version) -> Json:
    if version < (1, 25):
        document["SecurityOptions"] = ["seccomp", "cgroupns"]
    if version < (1, 50):
        document |= {"BridgeNfIptables": False, "BridgeNfIp6tables": False}
    return document


def registries_json(engine: Engine) -> Json:
    registries = engine.config.registries
    return {
        "InsecureRegistryCIDRs": [],
        "IndexConfigs": {
            registry.host: {
                "Name": registry.host,
                "Mirrors": list(registry.mirrors),
                "Secure": not registry.plain_http,
                "Official": False,
            }
            for registry in registries
        },
        "Mirrors": None,
    }


def _ip_forward() -> bool:
    try:
        return Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1"
    except OSError:
        return False


async def disk_usage(call: Call) -> Response:
    engine, query = call.app, call.query
    wanted = set(query.all("type") if call.version >= (1, 42) else ()) or set(_OBJECTS)
    if unknown := wanted - set(_OBJECTS):
        raise InvalidArgument(f"unknown object type: {sorted(unknown)[0][:100]}")
    document: Json = {"LayersSize": 0, "Images": None, "Containers": None, "Volumes": None, "BuildCache": None}
    if "image" in wanted:
        document["LayersSize"] = await engine.images.disk_usage()
        images = await engine.images.list(engine.tenant)
        shared = shared_sizes(images)
        document["Images"] = [
            image_json(image, (1, 51), len(engine.images.in_use(image.id)), shared[image.id])
            for image in images
            if not is_step(image)
        ]
    if "container" in wanted:
        views = await engine.containers.list(engine.tenant, all=True, size=True)
        document["Containers"] = [container_json(view, view.request.image, call.version, True) for view in views]
    if "volume" in wanted:
        document["Volumes"] = [volume_json(view) for view in await engine.volumes.list(engine.tenant, sizes=True)]
    if "build-cache" in wanted:
        document["BuildCache"] = []
    return json_response(document)


ROUTES: list[Route[Engine]] = [
    Route("GET", "/_ping", ping),
    Route("HEAD", "/_ping", head_ping),
    Route("GET", "/version", version),
    Route("GET", "/info", info),
    Route("GET", "/system/df", disk_usage),
    Route("GET", "/events", stream_events, until_gone=True),
]
