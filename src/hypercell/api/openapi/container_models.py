# SPDX-License-Identifier: Apache-2.0
"""Containers and execs."""

from __future__ import annotations

from hypercell.api.openapi.host_config import HOST_CONFIG_SHOWN, HOST_CONFIG_WISHED
from hypercell.api.openapi.network_models import ENDPOINT
from hypercell.api.openapi.schema import (
    EMPTY,
    FLAG,
    INTEGER,
    LABELS,
    NUMBER,
    TEXT,
    TEXTS,
    TIME,
    Schema,
    listed,
    mapped,
    maybe,
    named,
    one_of,
    record,
    wished,
)
from hypercell.cloud.contract import HealthStatus, Status

_SET = maybe(mapped(EMPTY))
_WORDS = maybe(TEXTS)
HEALTH_CHECK = record(
    {},
    {
        "Test": TEXTS,
        "Interval": INTEGER,
        "Timeout": INTEGER,
        "StartPeriod": INTEGER,
        "StartInterval": INTEGER,
        "Retries": INTEGER,
    },
)
_CONFIG: dict[str, Schema] = {
    "Hostname": TEXT,
    "Domainname": TEXT,
    "User": TEXT,
    "AttachStdin": FLAG,
    "AttachStdout": FLAG,
    "AttachStderr": FLAG,
    "Tty": FLAG,
    "OpenStdin": FLAG,
    "StdinOnce": FLAG,
    "Env": _WORDS,
    "Cmd": _WORDS,
    "Image": TEXT,
    "Volumes": _SET,
    "WorkingDir": TEXT,
    "Entrypoint": _WORDS,
    "OnBuild": _WORDS,
    "Labels": LABELS,
}
_CONFIG_IF_SAID: dict[str, Schema] = {
    "ArgsEscaped": FLAG,
    "ExposedPorts": mapped(EMPTY),
    "Healthcheck": HEALTH_CHECK,
    "Shell": TEXTS,
    "StopSignal": TEXT,
    "StopTimeout": maybe(INTEGER),
}
_WORDS_OR_TEXT: Schema = {"anyOf": [TEXTS, TEXT]}
_WISHED = {
    **_CONFIG,
    **_CONFIG_IF_SAID,
    "Cmd": _WORDS_OR_TEXT,
    "Entrypoint": _WORDS_OR_TEXT,
    "ExposedPorts": mapped({"type": "object"}),
    "Healthcheck": wished(HEALTH_CHECK),
    "HostConfig": HOST_CONFIG_WISHED,
    "Labels": mapped(maybe(TEXT)),
    "MacAddress": TEXT,
    "NetworkDisabled": FLAG,
    "NetworkingConfig": wished(record({"EndpointsConfig": mapped(maybe({"type": "object"}))})),
    "StopTimeout": INTEGER,
    "Volumes": mapped({"type": "object"}),
}
_STATE = record(
    {
        "Status": one_of(*Status),
        "Running": FLAG,
        "Paused": FLAG,
        "Restarting": FLAG,
        "OOMKilled": FLAG,
        "Dead": FLAG,
        "Pid": INTEGER,
        "ExitCode": INTEGER,
        "Error": TEXT,
        "StartedAt": TIME,
        "FinishedAt": TIME,
    },
    {
        "Health": record(
            {
                "Status": one_of(*HealthStatus),
                "FailingStreak": INTEGER,
                "Log": listed(record({"Start": TIME, "End": TIME, "ExitCode": INTEGER, "Output": TEXT})),
            }
        )
    },
)
_MOUNT = record(
    {"Type": TEXT, "Source": TEXT, "Destination": TEXT, "Mode": TEXT, "RW": FLAG, "Propagation": TEXT},
    {"Name": TEXT, "Driver": TEXT},
)
_BINDING = record({"HostIp": TEXT, "HostPort": TEXT})
_SETTINGS = record(
    {
        "Bridge": TEXT,
        "SandboxID": TEXT,
        "SandboxKey": TEXT,
        "Ports": mapped(maybe(listed(_BINDING))),
        "HairpinMode": FLAG,
        "LinkLocalIPv6Address": TEXT,
        "LinkLocalIPv6PrefixLen": INTEGER,
        "SecondaryIPAddresses": {"type": "null"},
        "SecondaryIPv6Addresses": {"type": "null"},
        "EndpointID": TEXT,
        "Gateway": TEXT,
        "GlobalIPv6Address": TEXT,
        "GlobalIPv6PrefixLen": INTEGER,
        "IPAddress": TEXT,
        "IPPrefixLen": INTEGER,
        "IPv6Gateway": TEXT,
        "MacAddress": TEXT,
        "Networks": mapped(ENDPOINT),
    }
)
_TRACE = record(
    {
        "Way": TEXT,
        "Note": TEXT,
        "Failed": TEXT,
        "Total": NUMBER,
        "Steps": listed(record({"Name": TEXT, "Start": NUMBER, "Took": NUMBER})),
    }
)
_HYPERCELL: Schema = {
    "type": "object",
    "properties": {
        "Size": TEXT,
        "Trace": maybe(_TRACE),
        "Waiting": record({"Reason": TEXT, "Since": TIME, "Position": INTEGER}),
    },
    "required": ["Size", "Trace"],
}
_PROCESS = record(
    {"tty": FLAG, "entrypoint": TEXT, "arguments": TEXTS, "privileged": FLAG},
    {"user": TEXT},
)
_CONSOLE = {**listed(INTEGER), "maxItems": 2}
CONTAINERS: dict[str, Schema] = {
    "ContainerConfig": record(_CONFIG, _CONFIG_IF_SAID),
    "CreateRequest": wished(record(_WISHED)),
    "CommitRequest": wished(record(_WISHED)) | {"additionalProperties": True},
    "Created": record({"Id": TEXT, "Warnings": TEXTS}),
    "ContainerInspection": record(
        {
            "Id": TEXT,
            "Created": TIME,
            "Path": TEXT,
            "Args": TEXTS,
            "State": _STATE,
            "Image": TEXT,
            "ResolvConfPath": TEXT,
            "HostnamePath": TEXT,
            "HostsPath": TEXT,
            "LogPath": TEXT,
            "Name": TEXT,
            "RestartCount": INTEGER,
            "Driver": TEXT,
            "Platform": TEXT,
            "MountLabel": TEXT,
            "ProcessLabel": TEXT,
            "AppArmorProfile": TEXT,
            "ExecIDs": _WORDS,
            "HostConfig": HOST_CONFIG_SHOWN,
            "GraphDriver": record({"Name": TEXT, "Data": maybe(LABELS)}),
            "Mounts": listed(_MOUNT),
            "Config": named("ContainerConfig"),
            "NetworkSettings": _SETTINGS,
            "Hypercell": _HYPERCELL,
        },
        {"SizeRw": INTEGER, "SizeRootFs": INTEGER},
    ),
    "ContainerSummary": record(
        {
            "Id": TEXT,
            "Names": TEXTS,
            "Image": TEXT,
            "ImageID": TEXT,
            "Command": TEXT,
            "Created": INTEGER,
            "Ports": listed(record({"PrivatePort": INTEGER, "Type": TEXT}, {"IP": TEXT, "PublicPort": INTEGER})),
            "Labels": LABELS,
            "State": one_of(*Status),
            "Status": TEXT,
            "HostConfig": record({"NetworkMode": TEXT}, {"Annotations": LABELS}),
            "NetworkSettings": record({"Networks": mapped(ENDPOINT)}),
            "Mounts": listed(_MOUNT),
        },
        {"SizeRw": INTEGER, "SizeRootFs": INTEGER},
    ),
    "Waited": record({"StatusCode": INTEGER}, {"Error": record({"Message": TEXT})}),
    "Processes": record({"Titles": TEXTS, "Processes": maybe(listed(TEXTS))}),
    "Changes": maybe(listed(record({"Path": TEXT, "Kind": {**INTEGER, "enum": [0, 1, 2]}}))),
    "ExecRequest": {
        **wished(
            record(
                {
                    "Cmd": _WORDS_OR_TEXT,
                    "Env": TEXTS,
                    "WorkingDir": TEXT,
                    "User": TEXT,
                    "Tty": FLAG,
                    "AttachStdin": FLAG,
                    "AttachStdout": FLAG,
                    "AttachStderr": FLAG,
                    "Privileged": FLAG,
                    "ConsoleSize": _CONSOLE,
                    "DetachKeys": TEXT,
                    "Container": TEXT,
                    "Detach": FLAG,
                }
            )
        ),
        "required": ["Cmd"],
    },
    "ExecStart": wished(record({"Detach": FLAG, "Tty": FLAG, "ConsoleSize": _CONSOLE})),
    "ExecInspection": record(
        {
            "ID": TEXT,
            "Running": FLAG,
            "ExitCode": maybe(INTEGER),
            "ProcessConfig": _PROCESS,
            "OpenStdin": FLAG,
            "OpenStderr": FLAG,
            "OpenStdout": FLAG,
            "CanRemove": FLAG,
            "ContainerID": TEXT,
            "DetachKeys": TEXT,
            "Pid": INTEGER,
        }
    ),
}
