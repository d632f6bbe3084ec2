# SPDX-License-Identifier: Apache-2.0
"""The network of real VMs: out through NAT, from the host, published ports, names, none at all."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, running
from tests.support.namespaces import Host
from tests.system.conftest import IMAGE, load_busybox

pytestmark = [pytest.mark.vm, pytest.mark.root]

DNS = """
import socket, dns.message, dns.rrset
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("198.51.100.2", 53))
while True:
    data, peer = s.recvfrom(4096)
    q = dns.message.from_wire(data); r = dns.message.make_response(q)
    if q.question[0].rdtype == 1:
        r.answer.append(dns.rrset.from_text(q.question[0].name, 60, "IN", "A", "198.51.100.2"))
    s.sendto(r.to_wire(), peer)
"""


@pytest.fixture(scope="module")
def outside() -> Iterator[Host]:
    """A host on another network that answers names."""
    with Host("outside", "198.51.100.1", "198.51.100.2") as host:
        names = host.popen([sys.executable, "-c", DNS])
        time.sleep(1)
        yield host
        names.kill()
        names.wait()


@pytest.fixture(scope="module")
def networked(outside: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp("net") / "d"
    with running(directory, bridge="hctnet0", subnet="172.27.0.0/16", dns=["198.51.100.2"]) as daemon:
        load_busybox(daemon)
        yield daemon


def test_a_container_reaches_out_through_nat_and_resolves_names(networked: Daemon) -> None:
    script = "ping -c1 -W5 198.51.100.2 >/dev/null && echo reached; nslookup some.name"
    seen = networked.docker("run", "--rm", IMAGE, "sh", "-c", script).stdout
    assert "reached" in seen
    assert "some.name\nAddress: 198.51.100.2" in seen


def test_the_host_reaches_a_container_and_the_outside_only_what_is_published(networked: Daemon, outside: Host) -> None:
    serve = "echo page > /index.html; exec httpd -f -p 80 -h /"
    name = networked.docker("run", "-d", "-p", "18081:80", IMAGE, "sh", "-c", serve).stdout.strip()
    try:
        address = json.loads(networked.docker("inspect", name).stdout)[0]["NetworkSettings"]["IPAddress"]
        assert fetch(f"http://{address}/index.html") == "page\n"
        assert fetch("http://127.0.0.1:18081/index.html") == "page\n"
        assert fetch("http://198.51.100.1:18081/index.html") == "page\n"
        assert "page" in from_outside(outside, "198.51.100.1", 18081)
        assert "page" not in from_outside(outside, address, 80), "an unpublished address was reachable from outside"
        networked.docker("stop", "-t", "1", name)
        assert "page" not in from_outside(outside, "198.51.100.1", 18081)
    finally:
        networked.docker("rm", "-f", name)


def get(address: str, port: int) -> str:
    """A shell's HTTP request (Debian's static busybox wget needs libraries that no container has)."""
    return f"printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {address} {port} | tail -1"


def from_outside(outside: Host, address: str, port: int) -> str:
    return outside.run(["/bin/busybox", "sh", "-c", get(address, port)], capture_output=True, check=False).stdout


def fetch(url: str) -> str:
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_containers_reach_each_other_also_by_a_published_port(networked: Daemon) -> None:
    serve = "echo page > /index.html; exec httpd -f -p 80 -h /"
    name = networked.docker("run", "-d", "-p", "18082:80", IMAGE, "sh", "-c", serve).stdout.strip()
    try:
        address = json.loads(networked.docker("inspect", name).stdout)[0]["NetworkSettings"]["IPAddress"]
        fetch(f"http://{address}/index.html")
        script = f"{get(address, 80)}; {get('198.51.100.1', 18082)}"
        assert networked.docker("run", "--rm", IMAGE, "sh", "-c", script).stdout == "page\npage\n"
        assert networked.docker("exec", name, "sh", "-c", get("198.51.100.1", 18082)).stdout == "page\n"
    finally:
        networked.docker("rm", "-f", name)


def test_a_container_cannot_reach_the_hosts_services(networked: Daemon, tmp_path: Path) -> None:
    server = subprocess.Popen(["/bin/busybox", "httpd", "-f", "-p", "18083", "-h", str(tmp_path)])
    try:
        (tmp_path / "index.html").write_text("host's")
        assert fetch("http://127.0.0.1:18083/index.html") == "host's"
        script = f"{get('172.27.0.1', 18083)}; {get('198.51.100.1', 18083)}; ping -c1 172.27.0.1"
        seen = networked.docker("run", "--rm", IMAGE, "sh", "-c", script, check=False)
        assert "host's" not in seen.stdout
        assert "1 packets received" in seen.stdout
    finally:
        server.kill()
        server.wait()


def test_network_none_has_no_way_anywhere(networked: Daemon) -> None:
    script = "ip -o addr; ping -c1 -W2 172.27.0.1 >/dev/null 2>&1 || echo no way"
    seen = networked.docker("run", "--rm", "--network", "none", IMAGE, "sh", "-c", script).stdout
    assert "no way" in seen
    assert "127.0.0.1" in seen and "eth0" not in seen
    assert "172.27" not in seen


@pytest.mark.parametrize("network", ["bridge", "none"])
def test_sysctls_of_the_network_are_the_containers(networked: Daemon, network: str) -> None:
    wanted = ("--network", network, "--sysctl", "net.core.somaxconn=777")
    seen = networked.docker("run", "--rm", *wanted, IMAGE, "cat", "/proc/sys/net/core/somaxconn").stdout
    assert seen == "777\n"


def test_an_attacker_cannot_take_a_neighbours_address(networked: Daemon) -> None:
    victim = networked.docker("run", "-d", IMAGE, "sleep", "1000").stdout.strip()
    try:
        address = json.loads(networked.docker("inspect", victim).stdout)[0]["NetworkSettings"]["IPAddress"]
        announce = f"ip addr add {address}/16 dev eth0; arping -c 2 -U -I eth0 -s {address} {address}"
        take = f"{announce}; ping -c1 -W2 -I {address} 172.27.0.1"
        seen = networked.docker("run", "--rm", "--privileged", IMAGE, "sh", "-c", take, check=False)
        assert "1 packets received" not in seen.stdout
        assert networked.docker("exec", victim, "ping", "-c1", "-W5", "172.27.0.1").returncode == 0
    finally:
        networked.docker("rm", "-f", victim)
