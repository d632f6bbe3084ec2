# SPDX-License-Identifier: Apache-2.0
"""Hostile requests are refused before anything is made of them."""

from __future__ import annotations

from typing import Any

import pytest

from hypercell.base.errors import Conflict, HypercellError, InvalidArgument, Unsupported
from hypercell.cloud import signals
from hypercell.cloud.contract import ContainerRequest, PublishedPort, RestartPolicy, Ulimit
from hypercell.cloud.validate import exposed_ports, validate

REFUSED: list[dict[str, Any]] = [
    {"name": "a"},
    {"name": "../x"},
    {"name": "-x"},
    {"name": "x\ny"},
    {"name": "x" * 300},
    {"command": ("sh", "a\0b")},
    {"env": ("A=1\0LD_PRELOAD=x",)},
    {"env": ("=x",)},
    {"env": ("\udcff=1",)},
    {"working_dir": "relative"},
    {"user": "root\nx:0:0"},
    {"hostname": "a\n127.0.0.1 bank"},
    {"hostname": "a b"},
    {"hostname": "-" * 70},
    {"domainname": "x;y"},
    {"extra_hosts": ("bank:not-an-address",)},
    {"extra_hosts": ("a\nb:1.2.3.4",)},
    {"extra_hosts": ("a:1.2.3.4\n6.6.6.6 b",)},
    {"dns": ("1.2.3.4\nnameserver 6.6.6.6",)},
    {"dns": ("fe80::1%eth0",)},
    {"dns_search": ("a b",)},
    {"dns_options": ("x\ny",)},
    {"memory": 1},
    {"memory": -1},
    {"memory": 2**62},
    {"nano_cpus": 5},
    {"nano_cpus": -1},
    {"size": "xxl"},
    {"shm_size": -1},
    {"pids_limit": 2**40},
    {"oom_score_adj": 1001},
    {"cpu_shares": -1},
    {"ulimits": (Ulimit("nofile", 2, 1),)},
    {"ulimits": (Ulimit("nofile", -1, 1),)},
    {"ulimits": (Ulimit("rm -rf", 1, 1),)},
    {"ulimits": (Ulimit("core", 2**64, 2**64),)},
    {"cap_add": ("CAP_NOPE",)},
    {"cap_drop": ("x",)},
    {"group_add": ("a,b",)},
    {"group_add": ("",)},
    {"sysctls": {"kernel.core_pattern": "|/x"}},
    {"sysctls": {"net.core.somaxconn": "1\n2"}},
    {"sysctls": {"net/../../kernel/core_pattern": "x"}},
    {"sysctls": {"net.../x": "1"}},
    {"tmpfs": {"relative": ""}},
    {"tmpfs": {"/": ""}},
    {"tmpfs": {"/a/../..": ""}},
    {"tmpfs": {"/a": "remount"}},
    {"masked_paths": ("proc",)},
    {"readonly_paths": ("/a/../b",)},
    {"labels": {"a": "b\0"}},
    {"stop_signal": "SIGNOPE"},
    {"stop_signal": "0"},
    {"stop_signal": "65"},
    {"restart": RestartPolicy("sometimes")},
    {"restart": RestartPolicy("on-failure", -1)},
    {"restart": RestartPolicy("always", 3)},
    {"exposed": ("http",)},
    {"exposed": ("70000",)},
    {"exposed": ("9-3/tcp",)},
    {"published": (PublishedPort(0, "tcp", "", 80),)},
    {"published": (PublishedPort(80, "tcp", "", 70000),)},
    {"published": (PublishedPort(80, "tcp", "::", 80),)},
    {"published": (PublishedPort(80, "tcp", "1.2.3.4; drop table", 80),)},
]


@pytest.mark.parametrize("request_", REFUSED, ids=lambda request: ascii(request)[:60])
def test_a_hostile_value_is_refused(request_: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        validate(ContainerRequest("busybox", **request_))
    assert caught.value.message.isprintable() and len(caught.value.message) < 400


def test_what_contradicts_itself_is_a_conflict() -> None:
    with pytest.raises(Conflict, match="AutoRemove"):
        validate(ContainerRequest("x", auto_remove=True, restart=RestartPolicy("always")))


@pytest.mark.parametrize("request_", [{"network": "host"}, {"network": "container:x"}])
def test_what_is_not_built_says_so(request_: dict[str, Any]) -> None:
    with pytest.raises(Unsupported):
        validate(ContainerRequest("x", **request_))
    with pytest.raises(Unsupported, match="sctp"):
        validate(ContainerRequest("x", published=(PublishedPort(80, "sctp", "", 80),)))


def test_an_ordinary_request_passes() -> None:
    validate(
        ContainerRequest(
            "busybox",
            name="a.b-c_d",
            command=("sh", "-c", "echo 'ü'"),
            env=("A=b=c", "B"),
            working_dir="/w",
            user="1000:1000",
            hostname="box-1",
            domainname="example.org",
            extra_hosts=("db:10.0.0.1", "six:fe80::1", "six2:[::1]", "up:host-gateway"),
            dns=("1.1.1.1", "2606:4700::1111"),
            dns_search=("lan",),
            dns_options=("ndots:5",),
            size="m1",
            memory=6 << 20,
            nano_cpus=10**7,
            ulimits=(Ulimit("nofile", 1, 2), Ulimit("core", -1, -1)),
            cap_add=("ALL",),
            tmpfs={"/run": "rw,noexec,size=65536k"},
            sysctls={"net.ipv4.ip_forward": "1", "kernel.shmmax": "1", "fs.mqueue.msg_max": "2"},
            restart=RestartPolicy("on-failure", 5),
            published=(PublishedPort(80, "tcp", "127.0.0.1", 0),),
            exposed=("80", "8000-8010/udp"),
            stop_signal="RTMIN+3",
        )
    )


@pytest.mark.parametrize(
    ("text", "number"), [("KILL", 9), ("SIGKILL", 9), ("kill", 9), ("9", 9), ("SIGRTMIN", 34), ("RTMAX-1", 63)]
)
def test_signals_by_name_and_number(text: str, number: int) -> None:
    assert signals.number(text) == number


@pytest.mark.parametrize("text", ["", "SIG", "-9", "9.0", "SIGSIGKILL", "KILL\n", "²", "1" * 5000])
def test_what_is_no_signal(text: str) -> None:
    with pytest.raises(HypercellError):
        signals.number(text)


def test_port_ranges() -> None:
    assert exposed_ports("8000-8002/udp") == [(8000, "udp"), (8001, "udp"), (8002, "udp")]
    assert exposed_ports("80") == [(80, "tcp")]
