# SPDX-License-Identifier: Apache-2.0
"""What is not there, and what was said badly."""

from __future__ import annotations

from tests.contract.talk import IMAGE, Talk

_NOWHERE = (
    ("GET", "/containers/nope/json"),
    ("GET", "/containers/nope/logs?stdout=1"),
    ("GET", "/containers/nope/logs"),
    ("GET", "/containers/nope/top"),
    ("GET", "/containers/nope/stats?stream=0"),
    ("GET", "/containers/nope/archive?path=/"),
    ("GET", "/containers/nope/archive"),
    ("POST", "/containers/nope/start"),
    ("POST", "/containers/nope/stop"),
    ("POST", "/containers/nope/restart"),
    ("POST", "/containers/nope/kill"),
    ("POST", "/containers/nope/pause"),
    ("POST", "/containers/nope/unpause"),
    ("POST", "/containers/nope/wait"),
    ("POST", "/containers/nope/resize?h=1&w=1"),
    ("POST", "/containers/nope/attach?stream=1&stdout=1"),
    ("DELETE", "/containers/nope"),
    ("DELETE", "/containers/nope?force=1"),
    ("GET", "/exec/nope/json"),
    ("POST", "/exec/nope/resize?h=1&w=1"),
    ("GET", "/images/nope/json"),
    ("GET", "/images/nope/history"),
    ("GET", "/images/nope/get"),
    ("GET", "/images/get?names=nope"),
    ("POST", "/images/nope/tag?repo=x"),
    ("DELETE", "/images/nope"),
    ("DELETE", "/images/nope:1"),
    ("GET", "/networks/nope"),
    ("GET", "/volumes/nope"),
    ("DELETE", "/volumes/nope"),
    ("GET", "/plugins/nope/json"),
)


def nothing_of_that_name(talk: Talk) -> None:
    for method, path in _NOWHERE:
        talk.ask(method, path)
    talk.ask("POST", "/containers/nope/exec", {"Cmd": ["true"]})
    talk.ask("POST", "/exec/nope/start", {})
    talk.ask("HEAD", "/containers/nope/archive?path=/")
    talk.ask("PUT", "/containers/nope/archive?path=/", b"")


def no_such_image(talk: Talk) -> None:
    talk.ask("POST", "/containers/create", {"Image": "nope"}, title="create of an image that is not here")
    talk.ask("POST", "/containers/create", {"Image": "nope:1"}, title="create of a tag that is not here")
    talk.ask("POST", "/containers/create", {"Image": "nope@sha256:" + "a" * 64}, title="create of an unknown digest")
    talk.ask("POST", "/containers/create", {"Image": "UPPER"}, title="create of no reference at all")
    talk.ask("POST", "/containers/create", {"Image": ""}, title="create of an empty image")
    talk.ask("POST", "/containers/create", {}, title="create of no image")


def no_such_page(talk: Talk) -> None:
    for path in (
        "/nonsense",
        "/containers",
        "/containers//json",
        "/images",
        "/containers/x/nonsense",
        "/_pin",
        "/exec",
    ):
        talk.ask("GET", path)
    talk.ask("GET", "/", version="")
    talk.ask("GET", "/nonsense", version="", title="without a version")


def wrong_methods(talk: Talk) -> None:
    for method, path in (
        ("GET", "/containers/create"),
        ("DELETE", "/containers/json"),
        ("PUT", "/containers/x/json"),
        ("GET", "/containers/x/start"),
        ("POST", "/version"),
        ("POST", "/containers/x/logs"),
        ("PATCH", "/images/json"),
        ("GET", "/images/x/tag"),
        ("HEAD", "/version"),
        ("OPTIONS", "/containers/json"),
    ):
        talk.ask(method, path)


def versions(talk: Talk) -> None:
    talk.ask("GET", "/_ping", version="")
    talk.ask("GET", "/_ping", version="v1.24")
    talk.ask("GET", "/_ping", version="v9.99", title="a ping of a version to come")
    talk.ask("GET", "/containers/json", version="v9.99", title="a version to come")
    talk.ask("GET", "/containers/json", version="v1.1", title="a version of old")


def malformed_bodies(talk: Talk) -> None:
    talk.create("one")
    for name, body in {
        "no JSON": b"no",
        "half of it": b'{"Image":',
        "a list": b"[]",
        "null": b"null",
        "nothing": b"",
        "more behind it": b'{"Image":"nope"} and more',
        "a number for a text": b'{"Image":1}',
        "a text for a number": b'{"Image":"nope","HostConfig":{"Memory":"1"}}',
        "a text for a truth": b'{"Image":"nope","Tty":"yes"}',
        "a text for an object": b'{"Image":"nope","Labels":"x"}',
    }.items():
        talk.ask("POST", "/containers/create", body, title=f"create from {name}")
        talk.ask("POST", "/containers/one/exec", body, title=f"exec from {name}")


def bodies_that_are_not_called_json(talk: Talk) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8"):
        talk.ask(
            "POST", "/containers/create", b'{"Image":"nope"}', headers={"Content-Type": kind}, title=f"create as {kind}"
        )


def names_that_cannot_be(talk: Talk) -> None:
    talk.create("taken")
    for name in ("taken", "a", "-x", "a/b", "%20", "a%20b", "%C3%A4"):
        talk.ask("POST", f"/containers/create?name={name}", {"Image": IMAGE})


def values_that_cannot_be(talk: Talk) -> None:
    for name, config in {
        "too little memory": {"HostConfig": {"Memory": 1024}},
        "too many processors": {"HostConfig": {"NanoCpus": 10**15}},
        "processors below nothing": {"HostConfig": {"NanoCpus": -1}},
        "an odd restart policy": {"HostConfig": {"RestartPolicy": {"Name": "odd"}}},
        "retries of always": {"HostConfig": {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 2}}},
        "retries below nothing": {"HostConfig": {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": -1}}},
        "a restart of what removes itself": {
            "HostConfig": {"AutoRemove": True, "RestartPolicy": {"Name": "always"}},
        },
        "a relative directory": {"WorkingDir": "tmp"},
        "an odd signal": {"StopSignal": "SIGODD"},
        "a port of no protocol": {"ExposedPorts": {"80/odd": {}}},
        "a port beyond the last": {"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "99999"}]}}},
        "a port that is no number": {"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "x"}]}}},
        "a variable without a name": {"Env": ["=x"]},
        "a capability that is none": {"HostConfig": {"CapAdd": ["ODD"]}},
        "a score out of range": {"HostConfig": {"OomScoreAdj": 2000}},
        "an address that is none": {"HostConfig": {"Dns": ["x"]}},
        "a host without an address": {"HostConfig": {"ExtraHosts": ["x"]}},
        "shared memory below nothing": {"HostConfig": {"ShmSize": -1}},
        "an odd isolation": {"HostConfig": {"Isolation": "odd"}},
        "an odd security option": {"HostConfig": {"SecurityOpt": ["odd=x"]}},
        "an odd runtime": {"HostConfig": {"Runtime": "odd"}},
    }.items():
        made = talk.ask("POST", "/containers/create?name=odd", {"Image": IMAGE, **config}, title=f"create with {name}")
        if isinstance(made, dict) and "Id" in made:
            talk.ask("DELETE", "/containers/odd", title=f"it was made with {name}")


def ambiguity(talk: Talk) -> None:
    """Of seventeen ids two begin alike."""
    made = [talk.create(f"many{number}") for number in range(17)]
    first = [identifier[0] for identifier in made]
    prefix = next(letter for letter in first if first.count(letter) > 1)
    answer = talk.ask("GET", f"/containers/{prefix}/json", title="a prefix of two ids")
    answer["message"] = answer["message"].replace(f": {prefix}", ": PREFIX")
    talk.steps["a prefix of two ids"]["body"] = answer
