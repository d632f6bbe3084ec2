# SPDX-License-Identifier: Apache-2.0
"""Containers that join the network, processes or IPC of another."""

from __future__ import annotations

from typing import Any

from tests.contract.talk import IMAGE, Talk


def _shown(talk: Talk, name: str, title: str) -> None:
    talk.ask("GET", f"/containers/{name}/json", title=title)
    body: dict[str, Any] = talk.steps[title]["body"]
    modes = {mode: body["HostConfig"][mode] for mode in ("NetworkMode", "PidMode", "IpcMode")}
    settings = {key: body["NetworkSettings"][key] for key in ("Networks", "IPAddress", "Ports", "MacAddress")}
    talk.steps[title]["body"] = {**modes, **settings, "Hostname": body["Config"]["Hostname"]}


def joined(talk: Talk) -> None:
    talk.create("host", "sleep", "60", host={"IpcMode": "shareable"}, Hostname="box")
    talk.create("it", "sleep", "60", host=dict.fromkeys(("NetworkMode", "PidMode", "IpcMode"), "container:host"))
    talk.ask("POST", "/containers/it/start", title="start without the other")
    talk.ask("POST", "/containers/host/start")
    talk.ask("POST", "/containers/it/start")
    _shown(talk, "it", "running")
    talk.ask("POST", "/containers/it/stop?t=0")
    talk.ask("DELETE", "/containers/host?force=1")
    talk.ask("POST", "/containers/it/start", title="start when the other is gone")


def contradicted(talk: Talk) -> None:
    talk.create("host", "sleep", "60")
    for name, host, config in (
        ("a host name", {}, {"Hostname": "x"}),
        ("name servers", {"Dns": ["1.1.1.1"]}, {}),
        ("further hosts", {"ExtraHosts": ["a:1.2.3.4"]}, {}),
        ("published ports", {"PortBindings": {"80/tcp": [{}]}}, {}),
        ("all ports published", {"PublishAllPorts": True}, {}),
        ("an exposed port", {}, {"ExposedPorts": {"90/tcp": {}}}),
        ("no name", {"NetworkMode": "container:"}, {}),
    ):
        body = {"Image": IMAGE, "HostConfig": {"NetworkMode": "container:host", **host}, **config}
        talk.ask("POST", "/containers/create", body, title=f"join the network with {name}")
