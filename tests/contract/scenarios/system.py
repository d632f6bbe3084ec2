# SPDX-License-Identifier: Apache-2.0
"""The engine itself, its networks, volumes and plugins."""

from __future__ import annotations

from tests.contract import read
from tests.contract.talk import Talk


def itself(talk: Talk) -> None:
    talk.ask("GET", "/version", reader=read.types)
    talk.ask("GET", "/info", reader=_info)
    talk.ask("HEAD", "/_ping")


def _info(answer: read.Answer) -> object:
    """The shape. Registries that dockerd knows by itself are another matter."""
    found = read.types(answer)
    found["RegistryConfig"]["IndexConfigs"] = {}
    return found


def space(talk: Talk) -> None:
    talk.ran("box", "true")
    talk.ask("GET", "/system/df")
    talk.ask("POST", "/build/prune")


def usage(talk: Talk) -> None:
    talk.run("box", "sleep", "60")
    talk.ask("GET", "/containers/box/stats?stream=0", reader=read.types)
    talk.ask("GET", "/containers/box/top", reader=read.types)
    talk.ask("GET", "/containers/box/top?ps_args=-o%20pid,args", reader=_commands)


def _commands(answer: read.Answer) -> object:
    found = read.plain(answer)
    return {"Titles": found["Titles"], "commands": [row[1] for row in found["Processes"]]}


def networks(talk: Talk) -> None:
    talk.run("box", "sleep", "60")
    for name in ("bridge", "none"):
        talk.ask("GET", f"/networks/{name}")
    for filters in (
        '{"name":["bridge"]}',
        '{"driver":["null"]}',
        '{"scope":["local"]}',
        '{"type":["builtin"]}',
        '{"type":["custom"]}',
        '{"type":["odd"]}',
        '{"dangling":["true"]}',
        '{"odd":["x"]}',
        "odd",
    ):
        talk.ask("GET", f"/networks?filters={filters}", reader=_names)
    talk.ask("POST", "/networks/prune")
    talk.ask("POST", '/networks/prune?filters={"odd":["x"]}')
    talk.ask("DELETE", "/networks/bridge")


def _names(answer: read.Answer) -> object:
    found = read.plain(answer)
    return found if answer.status >= 400 else sorted(item["Name"] for item in found)


def volumes(talk: Talk) -> None:
    talk.ask("GET", "/volumes")
    talk.ask("GET", '/volumes?filters={"dangling":["true"]}')
    talk.ask("GET", '/volumes?filters={"odd":["x"]}')
    talk.ask("POST", "/volumes/prune")
    talk.ask("POST", '/volumes/prune?filters={"odd":["x"]}')


def plugins(talk: Talk) -> None:
    talk.ask("GET", "/plugins")
