# SPDX-License-Identifier: Apache-2.0
"""docker's `HostConfig`: as an inspection shows it, and as a create request may send it."""

from __future__ import annotations

from hypercell.api.openapi.schema import (
    FLAG,
    INTEGER,
    LABELS,
    TEXT,
    TEXTS,
    Schema,
    listed,
    mapped,
    maybe,
    named,
    record,
    wished,
)

_BINDING = record({"HostIp": TEXT, "HostPort": TEXT})
_RESTART = record({"Name": TEXT, "MaximumRetryCount": INTEGER})
_LOG = record({"Type": TEXT, "Config": LABELS})
_ULIMIT = record({"Name": TEXT, "Hard": INTEGER, "Soft": INTEGER})
_DEVICE = record({"PathOnHost": TEXT, "PathInContainer": TEXT, "CgroupPermissions": TEXT})
_DEVICE_REQUEST = wished(
    record({"Driver": TEXT, "Count": INTEGER, "DeviceIDs": TEXTS, "Capabilities": listed(TEXTS), "Options": LABELS})
)
_RATE = record({"Path": TEXT, "Rate": INTEGER})
_RATES = maybe(listed(_RATE))
_WEIGHTS = maybe(listed(record({"Path": TEXT, "Weight": INTEGER})))
_CONSOLE = {**listed(INTEGER), "maxItems": 2}
MOUNT: Schema = wished(
    record(
        {
            "Type": TEXT,
            "Source": TEXT,
            "Target": TEXT,
            "ReadOnly": FLAG,
            "Consistency": TEXT,
            "BindOptions": {"type": "object"},
            "VolumeOptions": {"type": "object"},
            "ImageOptions": {"type": "object"},
            "TmpfsOptions": wished(record({"SizeBytes": INTEGER, "Mode": INTEGER, "Options": listed(TEXTS)})),
        }
    )
)
_RESOURCES: dict[str, Schema] = {
    "BlkioWeight": INTEGER,
    "BlkioWeightDevice": _WEIGHTS,
    "BlkioDeviceReadBps": _RATES,
    "BlkioDeviceWriteBps": _RATES,
    "BlkioDeviceReadIOps": _RATES,
    "BlkioDeviceWriteIOps": _RATES,
    "CgroupParent": TEXT,
    "CpuCount": INTEGER,
    "CpuPercent": INTEGER,
    "CpuPeriod": INTEGER,
    "CpuQuota": INTEGER,
    "CpuRealtimePeriod": INTEGER,
    "CpuRealtimeRuntime": INTEGER,
    "CpuShares": INTEGER,
    "CpusetCpus": TEXT,
    "CpusetMems": TEXT,
    "DeviceCgroupRules": maybe(TEXTS),
    "DeviceRequests": maybe(listed(_DEVICE_REQUEST)),
    "Devices": maybe(listed(_DEVICE)),
    "IOMaximumBandwidth": INTEGER,
    "IOMaximumIOps": INTEGER,
    "Memory": INTEGER,
    "MemoryReservation": INTEGER,
    "MemorySwap": INTEGER,
    "MemorySwappiness": maybe(INTEGER),
    "NanoCpus": INTEGER,
    "OomKillDisable": maybe(FLAG),
    "PidsLimit": maybe(INTEGER),
    "Ulimits": maybe(listed(_ULIMIT)),
}
_SHOWN: dict[str, Schema] = {
    **_RESOURCES,
    "AutoRemove": FLAG,
    "Binds": maybe(TEXTS),
    "CapAdd": maybe(TEXTS),
    "CapDrop": maybe(TEXTS),
    "Cgroup": TEXT,
    "CgroupnsMode": TEXT,
    "ConsoleSize": _CONSOLE,
    "ContainerIDFile": TEXT,
    "Dns": TEXTS,
    "DnsOptions": TEXTS,
    "DnsSearch": TEXTS,
    "ExtraHosts": maybe(TEXTS),
    "GroupAdd": maybe(TEXTS),
    "IpcMode": TEXT,
    "Isolation": TEXT,
    "Links": maybe(TEXTS),
    "LogConfig": _LOG,
    "MaskedPaths": maybe(TEXTS),
    "NetworkMode": TEXT,
    "OomScoreAdj": INTEGER,
    "PidMode": TEXT,
    "PortBindings": maybe(mapped(maybe(listed(_BINDING)))),
    "Privileged": FLAG,
    "PublishAllPorts": FLAG,
    "ReadonlyPaths": maybe(TEXTS),
    "ReadonlyRootfs": FLAG,
    "RestartPolicy": _RESTART,
    "Runtime": TEXT,
    "SecurityOpt": maybe(TEXTS),
    "ShmSize": INTEGER,
    "UTSMode": TEXT,
    "UsernsMode": TEXT,
    "VolumeDriver": TEXT,
    "VolumesFrom": maybe(TEXTS),
}
_IF_SAID: dict[str, Schema] = {
    "Annotations": LABELS,
    "Init": maybe(FLAG),
    "Mounts": maybe(listed(MOUNT)),
    "StorageOpt": maybe(LABELS),
    "Sysctls": LABELS,
    "Tmpfs": LABELS,
}
_WISHED = {
    **_SHOWN,
    **_IF_SAID,
    "KernelMemory": INTEGER,
    "KernelMemoryTCP": INTEGER,
    "LogConfig": wished(_LOG),
    "PortBindings": mapped(maybe(listed(wished(_BINDING)))),
    "RestartPolicy": wished(_RESTART),
    "Ulimits": listed(wished(_ULIMIT)),
}
HOST_CONFIG = {
    "HostConfig": record(_SHOWN, _IF_SAID),
    "WishedHostConfig": wished(record(_WISHED)),
    "UpdateRequest": wished(
        record(
            {
                **_RESOURCES,
                "KernelMemory": INTEGER,
                "KernelMemoryTCP": INTEGER,
                "RestartPolicy": wished(_RESTART),
                "Ulimits": listed(wished(_ULIMIT)),
            }
        )
    ),
}
HOST_CONFIG_SHOWN, HOST_CONFIG_WISHED = named("HostConfig"), named("WishedHostConfig")
