# SPDX-License-Identifier: Apache-2.0
"""Images."""

from __future__ import annotations

from hypercell.api.openapi.schema import (
    EMPTY,
    FLAG,
    INTEGER,
    LABELS,
    TEXT,
    TEXTS,
    TIME,
    Schema,
    listed,
    mapped,
    maybe,
    record,
    wished,
)

_CONFIG = record(
    {
        "User": TEXT,
        "Env": maybe(TEXTS),
        "Cmd": maybe(TEXTS),
        "Entrypoint": maybe(TEXTS),
        "Volumes": maybe(mapped(EMPTY)),
        "WorkingDir": TEXT,
        "Labels": maybe(LABELS),
        "OnBuild": maybe(TEXTS),
    },
    {"ExposedPorts": mapped(EMPTY), "StopSignal": TEXT, "Shell": TEXTS, "Healthcheck": {"type": "object"}},
)
_DESCRIPTOR = record({"mediaType": TEXT, "digest": TEXT, "size": INTEGER})
IMAGES: dict[str, Schema] = {
    "ImageSummary": record(
        {
            "Containers": INTEGER,
            "Created": INTEGER,
            "Id": TEXT,
            "Labels": maybe(LABELS),
            "ParentId": TEXT,
            "RepoDigests": TEXTS,
            "RepoTags": TEXTS,
            "SharedSize": INTEGER,
            "Size": INTEGER,
        }
    ),
    "ImageInspection": record(
        {
            "Id": TEXT,
            "RepoTags": TEXTS,
            "RepoDigests": TEXTS,
            "Parent": TEXT,
            "Comment": TEXT,
            "DockerVersion": TEXT,
            "Author": TEXT,
            "Config": _CONFIG,
            "Architecture": TEXT,
            "Os": TEXT,
            "Size": INTEGER,
            "GraphDriver": record({"Name": TEXT, "Data": maybe(LABELS)}),
            "RootFS": record({"Type": TEXT, "Layers": TEXTS}),
            "Metadata": record({"LastTagTime": TIME}),
        },
        {"Created": TEXT, "Variant": TEXT},
    ),
    "History": listed(
        record(
            {
                "Id": TEXT,
                "Created": INTEGER,
                "CreatedBy": TEXT,
                "Tags": maybe(TEXTS),
                "Size": INTEGER,
                "Comment": TEXT,
            }
        )
    ),
    "Removed": listed(record({}, {"Untagged": TEXT, "Deleted": TEXT})),
    "FoundImages": listed(
        record({"star_count": INTEGER, "is_official": FLAG, "name": TEXT, "is_automated": FLAG, "description": TEXT})
    ),
    "Distribution": record({"Descriptor": _DESCRIPTOR, "Platforms": maybe(listed({"type": "object"}))}),
    "Credentials": wished(
        record(
            {
                "username": TEXT,
                "password": TEXT,
                "auth": TEXT,
                "email": TEXT,
                "serveraddress": TEXT,
                "identitytoken": TEXT,
                "registrytoken": TEXT,
            }
        )
    ),
}
