# SPDX-License-Identifier: Apache-2.0
"""Volumes, and containers that have some."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import quote

from tests.contract import read
from tests.contract.talk import IMAGE, Talk


def made_and_removed(talk: Talk) -> None:
    talk.ask("POST", "/volumes/create", {"Name": "data", "Labels": {"a": "b"}})
    talk.ask("POST", "/volumes/create", {"Name": "data", "Labels": {"c": "d"}}, title="it is made again")
    talk.ask("POST", "/volumes/create", {"Name": "plain"})
    talk.ask("GET", "/volumes/data")
    talk.ask("GET", "/volumes", reader=_volumes)
    talk.ask("DELETE", "/volumes/data")
    for method in ("GET", "DELETE"):
        talk.ask(method, "/volumes/data", title=f"{method} one that is gone")
    talk.ask("DELETE", "/volumes/data?force=1")


def refused(talk: Talk) -> None:
    bodies: dict[str, Any] = {
        "a short name": {"Name": "x"},
        "a path for a name": {"Name": "../x"},
        "a name with a slash": {"Name": "a/b"},
        "another driver": {"Name": "data", "Driver": "odd"},
        "an odd option": {"Name": "data", "DriverOpts": {"odd": "1"}},
        "odd labels": {"Name": "data", "Labels": ["x"]},
    }
    for title, body in bodies.items():
        talk.ask("POST", "/volumes/create", body, title=f"with {title}")
    talk.ask("POST", "/volumes/create", b"{", title="half a document")
    talk.ask("GET", "/volumes", reader=_volumes)


def listed(talk: Talk) -> None:
    talk.ask("POST", "/volumes/create", {"Name": "idle", "Labels": {"role": "db", "x": ""}})
    talk.create("box", "true", host={"Binds": ["used:/data"]})
    filters: tuple[Any, ...] = (
        {"name": ["idle"]},
        {"name": ["us"]},
        {"name": ["^dle"]},
        {"dangling": ["true"]},
        {"dangling": ["0"]},
        {"dangling": ["odd"]},
        {"driver": ["local"]},
        {"driver": ["loc"]},
        {"label": ["role"]},
        {"label": ["role=db", "x"]},
        {"label": ["role=web"]},
        {"odd": ["x"]},
    )
    for chosen in filters:
        text = json.dumps(chosen)
        talk.ask("GET", f"/volumes?filters={quote(text)}", reader=_volumes, title=f"where {text}")
    for text in ('{"volume":["used"]}', '{"volume":["/data"]}', '{"volume":["use"]}'):
        path = f"/containers/json?all=1&filters={quote(text)}"
        talk.ask("GET", path, reader=_containers, title=f"containers where {text}")


def in_use(talk: Talk) -> None:
    talk.create("box", "true", host={"Binds": ["data:/data"]})
    talk.ask("DELETE", "/volumes/data")
    talk.ask("DELETE", "/volumes/data?force=1")
    talk.ask("POST", "/volumes/prune")
    talk.ask("DELETE", "/containers/box?v=1")
    talk.ask("GET", "/volumes", reader=_volumes)
    talk.ask("POST", "/volumes/prune", title="prune what nobody has")
    talk.ask("GET", "/volumes", reader=_volumes)


def pruned(talk: Talk) -> None:
    for name in ("db", "web"):
        talk.ask("POST", "/volumes/create", {"Name": name, "Labels": {"role": name}})
    for filters in ('{"label":["role=db"]}', '{"label!":["role=web"]}', '{"odd":["x"]}', "{}"):
        talk.ask("POST", f"/volumes/prune?filters={quote(filters)}", title=f"prune where {filters}")


def shown_by_their_container(talk: Talk) -> None:
    mounts = [
        {"Type": "volume", "Source": "two", "Target": "/two/", "VolumeOptions": {"Labels": {"a": "b"}, "NoCopy": True}},
        {"Type": "volume", "Source": "three", "Target": "/three", "ReadOnly": True},
    ]
    tmpfs = {"Type": "tmpfs", "Target": "/memory", "TmpfsOptions": {"SizeBytes": 4096}}
    talk.create("forgetful", "true", host={"Mounts": [tmpfs]})
    talk.ask("GET", "/containers/forgetful/json", reader=_mounts)
    talk.create("box", "true", host={"Binds": ["one:/one:ro"], "Mounts": mounts}, Volumes={"/own": {}, "/one": {}})
    talk.ask("GET", "/containers/box/json", reader=_mounts)
    talk.ask("GET", "/volumes/two")
    talk.create("other", "true", host={"VolumesFrom": ["box:ro"], "Binds": ["mine:/two:nocopy"]})
    talk.ask("GET", "/containers/other/json", reader=_mounts)
    talk.ask("DELETE", "/containers/box?v=1")
    talk.ask("GET", "/volumes", reader=_count)
    talk.ask("DELETE", "/containers/other?v=1")
    talk.ask("GET", "/volumes", reader=_count)


def wishes_that_make_no_sense(talk: Talk) -> None:
    volume: dict[str, Any] = {"Type": "volume", "Source": "data", "Target": "/c"}
    wishes: dict[str, dict[str, Any]] = {
        "no source": {"Binds": [":/data"]},
        "a mode for a target": {"Binds": ["data:rw"]},
        "four parts": {"Binds": ["a:/b:ro:c"]},
        "an odd mode": {"Binds": ["data:/b:odd"]},
        "two modes": {"Binds": ["data:/b:ro,rw"]},
        "a relative target": {"Binds": ["data:b"]},
        "the root": {"Binds": ["data:/"]},
        "a name with a slash": {"Binds": ["a/b:/c"]},
        "two at one place": {"Binds": ["one:/c", "two:/c/"]},
        "a tmpfs at its place": {"Binds": ["one:/c"], "Tmpfs": {"/c": ""}},
        "no target": {"Mounts": [{"Type": "volume", "Source": "data"}]},
        "an odd type": {"Mounts": [{**volume, "Type": "odd"}]},
        "one of its own read-only": {"Mounts": [{"Type": "volume", "Target": "/c", "ReadOnly": True}]},
        "options of a bind": {"Mounts": [{**volume, "BindOptions": {"Propagation": "shared"}}]},
        "volumes from nobody": {"VolumesFrom": ["nobody"]},
        "volumes from nothing": {"VolumesFrom": [""]},
        "volumes in an odd mode": {"VolumesFrom": ["nobody:odd"]},
    }
    for title, host in wishes.items():
        body = {"Image": IMAGE, "Cmd": ["true"], "HostConfig": host}
        talk.ask("POST", "/containers/create", body, title=f"create with {title}")


def told_in_events(talk: Talk) -> None:
    since = time.time()
    talk.ask("POST", "/volumes/create", {"Name": "told"})
    talk.ran("box", "true", host={"Binds": ["told:/data:ro"]})
    talk.ask("DELETE", "/containers/box")
    talk.ask("DELETE", "/volumes/told")
    filters = quote(json.dumps({"volume": ["told"]}))
    query = f"since={since:.9f}&until={time.time():.9f}&filters={filters}"
    talk.ask("GET", f"/events?{query}", reader=read.stream, title="the events of its life")


def _volumes(answer: read.Answer) -> Any:
    found = read.plain(answer)
    return found if answer.status >= 400 else sorted(item["Name"] for item in found["Volumes"] or ())


def _count(answer: read.Answer) -> Any:
    found = read.plain(answer)["Volumes"] or ()
    return sorted("its own" if len(item["Name"]) == 64 else item["Name"] for item in found)


def _containers(answer: read.Answer) -> Any:
    found = read.plain(answer)
    return found if answer.status >= 400 else [item["Names"] for item in found]


def _mounts(answer: read.Answer) -> Any:
    """dockerd's order is random."""
    found = read.plain(answer)
    host = {name: found["HostConfig"].get(name) for name in ("Binds", "Mounts", "VolumesFrom", "Tmpfs")}
    mounts = sorted(found["Mounts"], key=lambda mount: mount["Destination"])
    return {"Mounts": mounts, "HostConfig": host, "Volumes": found["Config"]["Volumes"]}
