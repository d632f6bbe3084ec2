# SPDX-License-Identifier: Apache-2.0
"""What dockerd does and hypercell refuses, and what both refuse."""

from __future__ import annotations

from tests.contract.talk import IMAGE, Talk


def options_of_the_host(talk: Talk) -> None:
    for name, host in {
        "devices": {"Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "rwm"}]},
        "links": {"Links": ["other:alias"]},
        "the host's processes": {"PidMode": "host"},
        "the host's network": {"NetworkMode": "host"},
        "a network that is not there": {"NetworkMode": "nope"},
        "processors by number": {"CpusetCpus": "0"},
        "a cgroup": {"CgroupParent": "/x"},
    }.items():
        talk.ask("POST", "/containers/create", {"Image": IMAGE, "HostConfig": host}, title=f"create with {name}")


def swarm(talk: Talk) -> None:
    for path in ("/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs"):
        talk.ask("GET", path)
