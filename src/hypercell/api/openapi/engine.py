# SPDX-License-Identifier: Apache-2.0
"""The engine itself, and the routes that docker has not."""

from __future__ import annotations

from hypercell.api.openapi.operation import (
    Descriptions,
    Operation,
    filters,
    json,
    lines,
    moment,
    raw,
    texts,
)
from hypercell.api.openapi.schema import (
    FLAG,
    INTEGER,
    LABELS,
    TEXT,
    TEXTS,
    TIME,
    listed,
    mapped,
    maybe,
    named,
    one_of,
    record,
)

_HEADERS = ("Api-Version", "Builder-Version", "Docker-Experimental", "Ostype", "Swarm")
_PING = dict.fromkeys(_HEADERS, "what clients negotiate with")
_PONG = raw("text/plain", headers=_PING)
_VERSION = record(
    {
        "Platform": record({"Name": TEXT}),
        "Components": listed(record({"Name": TEXT, "Version": TEXT, "Details": LABELS})),
        "Version": TEXT,
        "ApiVersion": TEXT,
        "MinAPIVersion": TEXT,
        "GitCommit": TEXT,
        "GoVersion": TEXT,
        "Os": TEXT,
        "Arch": TEXT,
        "KernelVersion": TEXT,
        "BuildTime": TEXT,
    }
)
_COMMIT = record({"ID": TEXT})
_REGISTRY = record({"Name": TEXT, "Mirrors": TEXTS, "Secure": FLAG, "Official": FLAG})
_SWARM = record(
    {
        "NodeID": TEXT,
        "NodeAddr": TEXT,
        "LocalNodeState": TEXT,
        "ControlAvailable": FLAG,
        "Error": TEXT,
        "RemoteManagers": maybe(listed({"type": "object"})),
    }
)
_INFO = record(
    {
        "ID": TEXT,
        "Containers": INTEGER,
        "ContainersRunning": INTEGER,
        "ContainersPaused": INTEGER,
        "ContainersStopped": INTEGER,
        "Images": INTEGER,
        "Driver": TEXT,
        "DriverStatus": listed(TEXTS),
        "Plugins": record({"Volume": TEXTS, "Network": TEXTS, "Authorization": maybe(TEXTS), "Log": TEXTS}),
        "MemoryLimit": FLAG,
        "SwapLimit": FLAG,
        "CpuCfsPeriod": FLAG,
        "CpuCfsQuota": FLAG,
        "CPUShares": FLAG,
        "CPUSet": FLAG,
        "PidsLimit": FLAG,
        "IPv4Forwarding": FLAG,
        "Debug": FLAG,
        "NFd": INTEGER,
        "OomKillDisable": FLAG,
        "NGoroutines": INTEGER,
        "SystemTime": TIME,
        "LoggingDriver": TEXT,
        "CgroupDriver": TEXT,
        "CgroupVersion": TEXT,
        "NEventsListener": INTEGER,
        "KernelVersion": TEXT,
        "OperatingSystem": TEXT,
        "OSVersion": TEXT,
        "OSType": TEXT,
        "Architecture": TEXT,
        "IndexServerAddress": TEXT,
        "RegistryConfig": record(
            {"InsecureRegistryCIDRs": TEXTS, "IndexConfigs": mapped(_REGISTRY), "Mirrors": maybe(TEXTS)}
        ),
        "NCPU": INTEGER,
        "MemTotal": INTEGER,
        "GenericResources": maybe(listed({"type": "object"})),
        "DockerRootDir": TEXT,
        "HttpProxy": TEXT,
        "HttpsProxy": TEXT,
        "NoProxy": TEXT,
        "Name": TEXT,
        "Labels": TEXTS,
        "ExperimentalBuild": FLAG,
        "ServerVersion": TEXT,
        "Runtimes": mapped(record({"path": TEXT})),
        "DefaultRuntime": TEXT,
        "Swarm": _SWARM,
        "LiveRestoreEnabled": FLAG,
        "Isolation": TEXT,
        "InitBinary": TEXT,
        "ContainerdCommit": _COMMIT,
        "RuncCommit": _COMMIT,
        "InitCommit": _COMMIT,
        "SecurityOptions": TEXTS,
        "CDISpecDirs": maybe(TEXTS),
        "Warnings": maybe(TEXTS),
        "Hypercell": LABELS,
    }
)
_USAGE = record(
    {
        "LayersSize": INTEGER,
        "Images": maybe(listed(named("ImageSummary"))),
        "Containers": maybe(listed(named("ContainerSummary"))),
        "Volumes": maybe(listed(named("Volume"))),
        "BuildCache": maybe(listed({"type": "object"})),
    }
)
_CHECK = record({"name": TEXT, "status": one_of("ok", "warn", "fail"), "detail": TEXT, "hint": TEXT})
OPERATIONS: Descriptions = {
    "GET /_ping": Operation("Is anybody there?", {200: _PONG}),
    "HEAD /_ping": Operation("Is anybody there?", {200: _PONG}),
    "GET /version": Operation("Versions", {200: json(_VERSION)}),
    "GET /info": Operation("What the engine is, and has", {200: json(_INFO)}),
    "GET /system/df": Operation(
        "What takes how much space", {200: json(_USAGE)}, (), (texts("type", "what to look at; without: all"),)
    ),
    "GET /events": Operation(
        "What happened, and what happens from now on",
        {200: lines("events, one a line")},
        (),
        (
            moment("since"),
            moment("until"),
            filters(
                "builder",
                "config",
                "container",
                "daemon",
                "event",
                "image",
                "label",
                "network",
                "node",
                "plugin",
                "scope",
                "secret",
                "service",
                "type",
                "volume",
            ),
        ),
    ),
    "GET /plugins": Operation("List plugins", {200: json(listed({"type": "object"}))}),
    "GET /plugins/{name}/json": Operation("Inspect a plugin", {}, (404,)),
    "GET /metrics": Operation("Figures for Prometheus", {200: raw("text/plain")}),
    "GET /hypercell/doctor": Operation("What this machine lacks", {200: json(record({"checks": listed(_CHECK)}))}),
    "GET /hypercell/openapi.json": Operation("This document", {200: json({"type": "object"})}),
}
