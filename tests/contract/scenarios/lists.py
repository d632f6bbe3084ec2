# SPDX-License-Identifier: Apache-2.0
"""Lists of containers, and their filters."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from tests.contract import read
from tests.contract.talk import IMAGE, Talk


def nothing_to_list(talk: Talk) -> None:
    talk.ask("GET", "/containers/json")
    talk.ask("GET", "/containers/json?all=1")


def what_a_list_shows(talk: Talk) -> None:
    bindings = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18081"}]}
    talk.run("one", "sleep", "60", host={"PortBindings": bindings}, Labels={"a": "b"}, ExposedPorts={"81/udp": {}})
    talk.ask("GET", "/containers/json")
    talk.ask("GET", "/containers/json?size=1")


def filtered(talk: Talk) -> None:
    talk.run("running", "sleep", "60", Labels={"role": "web", "x": ""})
    talk.ran("ended", "sh", "-c", "exit 3", host={"NetworkMode": "none"})
    talk.create("idle", Labels={"role": "db"}, ExposedPorts={"99/tcp": {}})
    for query in ("", "all=1", "all=0", "all=true", "limit=1", "limit=2", "limit=-1", "limit=odd", "all=1&limit=0"):
        talk.ask("GET", f"/containers/json?{query}", reader=_names)
    for filters in _FILTERS:
        text = filters if isinstance(filters, str) else json.dumps(filters)
        path = f"/containers/json?all=1&filters={quote(text)}"
        talk.ask("GET", path, reader=_names, title=f"all containers where {text}")


def _names(answer: read.Answer) -> Any:
    found = read.plain(answer)
    return found if answer.status >= 400 else [item["Names"] for item in found]


_FILTERS: tuple[dict[str, Any] | str, ...] = (
    {"status": ["exited"]},
    {"status": ["created", "running"]},
    {"status": ["odd"]},
    {"exited": ["3"]},
    {"exited": ["x"]},
    {"label": ["role"]},
    {"label": ["role=web", "x"]},
    {"label": ["role=odd"]},
    {"name": ["ning"]},
    {"name": ["^/?idle$"]},
    {"name": ["("]},
    {"network": ["none"]},
    {"network": ["bridge"]},
    {"network": ["odd"]},
    {"ancestor": [IMAGE]},
    {"ancestor": ["odd"]},
    {"before": ["ended"]},
    {"since": ["ended"]},
    {"before": ["odd"]},
    {"expose": ["99"]},
    {"expose": ["99/tcp"]},
    {"expose": ["odd"]},
    {"publish": ["80"]},
    {"volume": ["v"]},
    {"is-task": ["true"]},
    {"is-task": ["odd"]},
    {"isolation": ["default"]},
    {"odd": ["x"]},
    {"status": {"exited": True}},
    {"status": "exited"},
    "{",
    "[]",
)
