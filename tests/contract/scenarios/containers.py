# SPDX-License-Identifier: Apache-2.0
"""Containers as they are created and inspected."""

from __future__ import annotations

from tests.contract import read
from tests.contract.talk import IMAGE, Talk


def nothing_but_an_image(talk: Talk) -> None:
    talk.create("plain")
    talk.ask("GET", "/containers/plain/json")


def the_answer_to_a_create(talk: Talk) -> None:
    talk.ask("POST", "/containers/create?name=made", {"Image": IMAGE})
    talk.ask("POST", "/containers/create?name=/slashed", {"Image": IMAGE})
    talk.ask("GET", "/containers/slashed/json", reader=lambda answer: read.plain(answer)["Name"])


def all_of_config(talk: Talk) -> None:
    talk.create(
        "config",
        "sleep",
        "60",
        Hostname="h",
        Domainname="d.example",
        User="65534:65534",
        Env=["A=b", "EMPTY=", "PATH=/sbin:/bin"],
        Labels={"one": "1", "empty": ""},
        WorkingDir="/tmp/../tmp",
        Entrypoint=["sh", "-c"],
        StopSignal="SIGINT",
        StopTimeout=7,
        Tty=True,
        OpenStdin=True,
        StdinOnce=True,
        AttachStdin=True,
        AttachStdout=True,
        AttachStderr=True,
        ExposedPorts={"8080/tcp": {}, "53/udp": {}},
    )
    talk.ask("GET", "/containers/config/json")


def all_of_host_config(talk: Talk) -> None:
    talk.create(
        "host",
        "sleep",
        "60",
        host={
            "Memory": 128 << 20,
            "NanoCpus": 500_000_000,
            "CpuShares": 512,
            "PidsLimit": 64,
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
            "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18080"}], "53/udp": [{}]},
            "CapAdd": ["NET_ADMIN"],
            "CapDrop": ["CAP_MKNOD"],
            "Dns": ["192.0.2.1"],
            "DnsOptions": ["ndots:2"],
            "DnsSearch": ["example"],
            "ExtraHosts": ["other:192.0.2.2"],
            "GroupAdd": ["1000"],
            "OomScoreAdj": 100,
            "ReadonlyRootfs": True,
            "SecurityOpt": ["no-new-privileges"],
            "Tmpfs": {"/scratch": "size=1m"},
            "Sysctls": {"net.core.somaxconn": "64"},
            "ShmSize": 1 << 20,
            "Ulimits": [{"Name": "nofile", "Soft": 64, "Hard": 128}],
            "Init": True,
            "LogConfig": {"Type": "json-file", "Config": {}},
        },
    )
    talk.ask("GET", "/containers/host/json")


def a_privileged_one(talk: Talk) -> None:
    talk.create("privileged", "true", host={"Privileged": True, "AutoRemove": False, "PublishAllPorts": True})
    talk.ask("GET", "/containers/privileged/json")


def without_a_network(talk: Talk) -> None:
    talk.run("alone", "sleep", "60", host={"NetworkMode": "none"})
    talk.ask("GET", "/containers/alone/json")


def one_that_runs(talk: Talk) -> None:
    talk.run("running", "sleep", "60", host={"PortBindings": {"80/tcp": [{}]}})
    talk.ask("GET", "/containers/running/json")
    talk.ask("GET", "/containers/running/json?size=1", title="with sizes")


def one_that_ended(talk: Talk) -> None:
    talk.ran("ended", "sh", "-c", "exit 3")
    talk.ask("GET", "/containers/ended/json")


def entrypoints(talk: Talk) -> None:
    for name, config in {
        "a text": {"Entrypoint": "echo", "Cmd": "hello"},
        "an empty list": {"Entrypoint": [], "Cmd": ["true"]},
        "a list of nothing": {"Entrypoint": [""], "Cmd": ["true"]},
        "no command of the image": {"Entrypoint": ["echo"]},
    }.items():
        made = talk.ask("POST", "/containers/create", {"Image": IMAGE, **config}, title=f"create with {name}")
        view = talk.ask("GET", f"/containers/{made['Id']}/json", title=f"inspect with {name}")
        shown = {"Path": view["Path"], "Args": view["Args"]}
        talk.steps[f"inspect with {name}"]["body"] = {**shown, "Cmd": view["Config"]["Cmd"]}


def found_by_prefix(talk: Talk) -> None:
    first = talk.create("first")
    for part in (first, first[:12], "first", "/first"):
        talk.ask("GET", f"/containers/{part}/top", title=f"top of {talk.labels.apply(part)}")
    talk.ask("GET", "/containers/fir/json", title="a prefix of a name")


def renamed(talk: Talk) -> None:
    talk.create("old")
    talk.create("taken")
    talk.ask("POST", "/containers/old/rename?name=new")
    talk.ask("GET", "/containers/old/json")
    talk.ask("POST", "/containers/new/rename?name=taken")
    talk.ask("POST", "/containers/new/rename?name=new")
    talk.ask("POST", "/containers/new/rename?name=")
    talk.ask("POST", "/containers/new/rename")
    talk.ask("POST", "/containers/new/rename?name=no%20good")
    talk.ask("POST", "/containers/nope/rename?name=x")


def updated(talk: Talk) -> None:
    talk.create("changing", host={"Memory": 64 << 20, "MemorySwap": -1})
    talk.ask("POST", "/containers/changing/update", {"RestartPolicy": {"Name": "always"}})
    talk.ask("POST", "/containers/changing/update", {"Memory": 128 << 20}, title="more memory")
    talk.ask("POST", "/containers/changing/update", {"RestartPolicy": {"Name": "odd"}}, title="an odd policy")
    talk.ask("POST", "/containers/changing/update", {"Memory": 1}, title="too little memory")
    talk.ask("POST", "/containers/nope/update", {"Memory": 128 << 20})


def removed(talk: Talk) -> None:
    talk.create("idle")
    talk.run("busy", "sleep", "60")
    talk.ask("DELETE", "/containers/idle")
    talk.ask("GET", "/containers/idle/json")
    talk.ask("DELETE", "/containers/idle")
    talk.ask("DELETE", "/containers/busy")
    talk.ask("DELETE", "/containers/busy?force=1")
    talk.ask("DELETE", "/containers/busy?force=1")


def pruned(talk: Talk) -> None:
    talk.create("stays", Labels={"keep": "1"})
    talk.ran("goes", "true")
    talk.ask("POST", '/containers/prune?filters={"label!":["keep"]}')
    talk.ask("POST", '/containers/prune?filters={"label!":["keep"]}')
    talk.ask("POST", '/containers/prune?filters={"odd":["x"]}')
    talk.ask("GET", "/containers/stays/json", reader=lambda answer: answer.status)
