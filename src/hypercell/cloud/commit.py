# SPDX-License-Identifier: Apache-2.0
"""What an image that is made of a container says: the container's own configuration, what the request gives, edits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypercell.cloud.contract import CommitRequest, HealthRequest
from hypercell.cloud.resolve import Resolved
from hypercell.images.archives import changes
from hypercell.images.contract import ImageConfig, Revision

Json = dict[str, Any]
_HEALTH = {
    "test": "Test",
    "interval": "Interval",
    "timeout": "Timeout",
    "start_period": "StartPeriod",
    "start_interval": "StartInterval",
    "retries": "Retries",
}
_TAKEN_OVER = ("User", "WorkingDir", "StopSignal", "StopTimeout", "Healthcheck")
"""Members that the container's own replace where the request says nothing."""
_UNITED = ("ExposedPorts", "Labels", "Volumes")


def revision(request: CommitRequest, resolved: Resolved, image: ImageConfig) -> Revision:
    """*image*: that of the container. Raises `InvalidArgument` for a wrong change."""
    own = container_config(resolved, image)
    config = changes.apply(list(request.changes), merged(request.config, own))
    return Revision(config, " ".join(resolved.args), request.comment, request.author)


def container_config(resolved: Resolved, image: ImageConfig) -> Json:
    """docker's `Config` of the container, as far as it means something in an image. Empty members are left out."""
    request = resolved.request
    config: Json = {
        "User": resolved.user,
        "ExposedPorts": {port: {} for port in request.exposed},
        "Env": list(resolved.env),
        "Cmd": list(request.command or ()),
        "Entrypoint": list(request.entrypoint or ()),
        "Volumes": {path: {} for path in image.volumes},
        "WorkingDir": request.working_dir or image.working_dir,
        "Labels": dict(request.labels),
        "StopSignal": request.stop_signal or image.stop_signal,
        "StopTimeout": request.stop_timeout,
        "Healthcheck": _health(request.health) if request.health else None,
        "Shell": list(request.shell or image.shell or ()),
    }
    return {key: value for key, value in config.items() if value}


def _health(health: HealthRequest) -> Json:
    values = {docker: getattr(health, name) for name, docker in _HEALTH.items()}
    return {docker: list(value) if docker == "Test" else value for docker, value in values.items() if value}


def merged(given: Mapping[str, Any], own: Json) -> Json:
    """What a request gives, and of the container's own what it leaves open (dockerd's rules)."""
    config = {key: value for key, value in given.items() if value}
    for key in _UNITED:
        if united := {**own.get(key, {}), **config.get(key, {})}:
            config[key] = united
    for key in _TAKEN_OVER:
        if key in own:
            config.setdefault(key, own[key])
    named = {entry.partition("=")[0] for entry in config.get("Env", ())}
    env = [*config.get("Env", ()), *(entry for entry in own.get("Env", ()) if entry.partition("=")[0] not in named)]
    if env:
        config["Env"] = env
    if "Entrypoint" not in config:
        if "Cmd" not in config and "Cmd" in own:
            config["Cmd"] = own["Cmd"]
        if "Entrypoint" in own:
            config["Entrypoint"] = own["Entrypoint"]
    return config
