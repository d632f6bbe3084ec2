# SPDX-License-Identifier: Apache-2.0
"""Networks of one's own."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from tests.contract import read
from tests.contract.talk import IMAGE, Talk

_FIXED = {"Config": [{"Subnet": "10.77.0.0/24", "Gateway": "10.77.0.254", "IPRange": "10.77.0.128/25"}]}


def _make(talk: Talk, name: str, **members: Any) -> None:
    answer = talk.ask("POST", "/networks/create", {"Name": name, "CheckDuplicate": True, **members})
    talk.labels.add(answer["Id"], f"id of network {name}")


def made_and_removed(talk: Talk) -> None:
    options = {"com.docker.network.driver.mtu": "1400"}
    _make(talk, "front", Driver="bridge", Labels={"a": "b"}, Options=options, IPAM=_FIXED)
    _make(talk, "inner", Internal=True, Attachable=True, IPAM={"Config": [{"Subnet": "10.78.0.0/24"}]})
    for name in ("front", "inner"):
        talk.ask("GET", f"/networks/{name}")
    talk.ask("DELETE", "/networks/front")
    talk.ask("DELETE", "/networks/front", title="once more")
    talk.ask("GET", "/networks/front")


def listed(talk: Talk) -> None:
    _make(talk, "front", Labels={"tier": "front"}, IPAM=_FIXED)
    _make(talk, "idle")
    talk.run("box", "sleep", "60", host={"NetworkMode": "front"})
    for filters in (
        {"name": ["fro"]},
        {"name": ["^idle$"]},
        {"label": ["tier"]},
        {"label": ["tier=back"]},
        {"type": ["custom"]},
        {"type": ["builtin"], "name": ["front"]},
        {"dangling": ["true"]},
        {"dangling": ["false"], "type": ["custom"]},
        {"driver": ["bridge"], "scope": ["local"], "type": ["custom"]},
    ):
        text = json.dumps(filters)
        talk.ask("GET", f"/networks?filters={quote(text)}", reader=_names, title=f"all networks where {text}")
    talk.ask("GET", "/containers/json?filters=" + quote('{"network":["front"]}'), reader=_containers)
    talk.ask("POST", "/networks/prune?filters=" + quote('{"label!":["tier"]}'))


def _names(answer: read.Answer) -> object:
    found = read.plain(answer)
    return found if answer.status >= 400 else sorted(item["Name"] for item in found if item["Name"] != "host")


def _containers(answer: read.Answer) -> object:
    return [item["Names"] for item in read.plain(answer)]


def refused(talk: Talk) -> None:
    _make(talk, "front", IPAM=_FIXED)
    for what, members in {
        "a name that is taken": {"Name": "front"},
        "a built-in name": {"Name": "bridge"},
        "no name": {"Name": ""},
        "an odd driver": {"Name": "odd", "Driver": "odd"},
        "a subnet that overlaps": {"Name": "odd", "IPAM": {"Config": [{"Subnet": "10.77.0.128/25"}]}},
        "a subnet that is none": {"Name": "odd", "IPAM": {"Config": [{"Subnet": "x"}]}},
        "a gateway outside": {"Name": "odd", "IPAM": {"Config": [{"Subnet": "10.79.0.0/24", "Gateway": "10.80.0.1"}]}},
        "a gateway without a subnet": {"Name": "odd", "IPAM": {"Config": [{"Gateway": "10.79.0.1"}]}},
    }.items():
        talk.ask("POST", "/networks/create", {"CheckDuplicate": True, **members}, title=f"create with {what}")
    talk.run("box", "sleep", "60", host={"NetworkMode": "front"})
    talk.ask("DELETE", "/networks/front", title="removal of one that is in use")
    for path in ("/networks/nope", "/networks/none", "/networks/bridge"):
        talk.ask("DELETE", path)
    talk.ask("POST", "/networks/nope/connect", {"Container": "box"})
    talk.ask("POST", "/networks/nope/disconnect", {"Container": "box"})
    talk.ask("POST", "/networks/front/connect", {"Container": "nope"})
    talk.ask("POST", "/networks/front/disconnect", {"Container": "nope"})
    talk.ask("POST", "/networks/front/disconnect", {"Container": "nope", "Force": True}, title="by force")
    talk.ask("POST", "/networks/bridge/disconnect", {"Container": "box"})
    talk.ask("POST", "/networks/front/connect", {"Container": "box"}, title="connect once more")


def with_a_container(talk: Talk) -> None:
    _make(talk, "front", IPAM=_FIXED)
    wishes = {"Aliases": ["www"], "IPAMConfig": {"IPv4Address": "10.77.0.7"}}
    body = {
        "Image": IMAGE,
        "Cmd": ["sleep", "60"],
        "Hostname": "webby",
        "HostConfig": {"NetworkMode": "front"},
        "NetworkingConfig": {"EndpointsConfig": {"front": wishes}},
    }
    talk.labels.add(talk.ask("POST", "/containers/create?name=box", body)["Id"], "id of box")
    talk.ask("POST", "/containers/box/start")
    talk.ask("GET", "/containers/box/json", reader=_places)
    talk.ask("GET", "/networks/front", reader=_members)
    for wrong in ("10.77.0.7", "10.77.1.7"):
        body["NetworkingConfig"] = {"EndpointsConfig": {"front": {"IPAMConfig": {"IPv4Address": wrong}}}}
        talk.ask("POST", f"/containers/create?name=at-{wrong}", body, title=f"create at {wrong}")


def on_a_built_in_network_with_wishes(talk: Talk) -> None:
    for what, wishes in {
        "an alias": {"Aliases": ["x"]},
        "an address": {"IPAMConfig": {"IPv4Address": "172.17.0.9"}},
    }.items():
        body = {"Image": IMAGE, "NetworkingConfig": {"EndpointsConfig": {"bridge": wishes}}}
        talk.ask("POST", "/containers/create", body, title=f"create with {what}")


def moved(talk: Talk) -> None:
    _make(talk, "front", IPAM=_FIXED)
    talk.run("box", "sleep", "60")
    talk.ask("POST", "/networks/bridge/disconnect", {"Container": "box"})
    talk.ask("GET", "/containers/box/json", reader=_places, title="on none")
    wishes = {"Aliases": ["www"], "IPAMConfig": {"IPv4Address": "10.77.0.9"}}
    talk.ask("POST", "/networks/front/connect", {"Container": "box", "EndpointConfig": wishes})
    talk.ask("GET", "/containers/box/json", reader=_places, title="on the other")
    talk.ask("POST", "/containers/box/stop?t=0")
    talk.ask("POST", "/networks/front/disconnect", {"Container": "box"}, title="off it when it is stopped")
    talk.ask("GET", "/containers/box/json", reader=_places, title="stopped, on none")


def _places(answer: read.Answer) -> object:
    return read.plain(answer)["NetworkSettings"]["Networks"]


def _members(answer: read.Answer) -> object:
    return list(read.plain(answer)["Containers"].values())
