# SPDX-License-Identifier: Apache-2.0
"""A container that joins another gets what that one has, and nothing of its own in the place of it."""

from __future__ import annotations

from typing import Any

import pytest

from hypercell.base.errors import InvalidArgument, Unsupported
from hypercell.node.container import Container
from hypercell.node.network import NetworkSpec, Wish
from tests.support.house import House, T

SLEEP = ("sleep", "infinity")


async def made(home: House, *command: str, **request: Any) -> Container:
    return home.node.get(await home.create(*(command or SLEEP), **request))


def namespaces(container: Container) -> dict[str, str]:
    """By type: the path, empty for a new one."""
    found = container.record.spec.oci["linux"]["namespaces"]
    return {entry["type"]: entry.get("path", "") for entry in found}


def files(container: Container) -> dict[str, str]:
    return {file["path"]: file["data"] for file in container.record.spec.files}


@pytest.mark.parametrize("kinds", [("network",), ("pid",), ("network", "pid"), ("network", "pid", "ipc")])
async def test_namespaces_of_the_other_are_joined_by_its_id_and_the_others_made(
    home: House, kinds: tuple[str, ...]
) -> None:
    host = await made(home, name="host", ipc_shareable=True)
    it = await made(home, joins=dict.fromkeys(kinds, "host"))
    joined = dict.fromkeys(("network", *kinds), f"container:{host.id}")
    assert namespaces(it) == {**dict.fromkeys(("pid", "ipc", "uts", "mount", "cgroup"), ""), **joined}
    assert it.pod is host.pod and it.record.pod == host.id
    assert it.record.spec.member is not None and it.record.spec.member.of == host.id


async def test_without_network_it_has_none_though_its_vm_does(home: House) -> None:
    await made(home, name="host")
    it = await made(home, joins={"pid": "host"}, network="none")
    assert namespaces(it)["network"] == ""


async def test_the_pod_of_a_member_is_that_of_the_first(home: House) -> None:
    host = await made(home, name="host")
    one = await made(home, name="one", joins={"network": "host"})
    two = await made(home, joins={"network": "one"})
    assert two.pod is host.pod
    assert namespaces(two)["network"] == f"container:{one.id}"
    assert files(two) == files(host)


async def test_names_go_with_the_network(home: House) -> None:
    host = await made(home, name="host", hostname="box", extra_hosts=("a:1.2.3.4",), dns=("9.9.9.9",))
    it = await made(home, joins={"network": "host"})
    assert files(it) == files(host)
    assert it.record.spec.oci["hostname"] == "box" and "HOSTNAME=box" in it.record.spec.oci["process"]["env"]
    alone = await made(home, joins={"pid": "host"}, hostname="mine")
    assert alone.record.spec.oci["hostname"] == "mine" and files(alone)["/etc/hosts"] != files(host)["/etc/hosts"]


async def test_all_of_the_vm_is_its_own_unless_it_says_less(home: House) -> None:
    host = await made(home, name="host", memory=256 * 1024**2)
    whole = await made(home, joins={"network": "host"})
    less = await made(home, joins={"network": "host"}, memory=64 * 1024**2, nano_cpus=5 * 10**8)
    limits = [one.record.spec.oci["linux"]["resources"] for one in (whole, less)]
    assert [limit["memory"]["limit"] for limit in limits] == [256 * 1024**2, 64 * 1024**2]
    assert "cpu" not in limits[0] and limits[1]["cpu"] == {"quota": 50000, "period": 100000}
    assert host.pod.record.spec.memory == 256 * 1024**2


async def test_a_network_port_is_that_of_the_vm_alone(home: House) -> None:
    host = await made(home, name="host")
    await made(home, joins={"network": "host"})
    assert home.ports() == {host.id}


async def test_a_tenant_joins_only_its_own(home: House) -> None:
    await made(home, name="host")
    request = (await home.view(await home.create("true"))).request
    with pytest.raises(InvalidArgument, match="No such container: host"):
        await home.containers.create("another", type(request)("busybox", command=("true",), joins={"pid": "host"}))


async def test_it_is_on_no_network_but_that_of_the_other(home: House) -> None:
    assert home.cloud is not None
    networks = home.cloud.networks
    front = await networks.create(T, NetworkSpec("", "front"))
    await made(home, name="host")
    it = await made(home, name="it", joins={"pid": "host"})
    before = it.record.spec
    with pytest.raises(InvalidArgument, match="cannot be connected to any other network"):
        await networks.connect(T, "front", "it", Wish(front.id))
    with pytest.raises(Unsupported):
        await made(home, joins={"pid": "host"}, network="front")
    await networks.connect(T, "front", "host", Wish(front.id))
    await home.reopen()
    assert home.node.get(it.id).record.spec == before, "a daemon that comes back leaves its files alone"


async def test_neighbours_find_the_other_by_its_own_names_alone(home: House) -> None:
    host = await home.run(*SLEEP, name="host")
    it = await home.run(*SLEEP, name="it", joins={"network": "host"})
    await home.containers.rename(T, it, "renamed")
    names = home.network.called[host]
    assert "host" in names and "renamed" not in names and it not in home.network.called
