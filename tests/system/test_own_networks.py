# SPDX-License-Identifier: Apache-2.0
"""Networks of one's own between real VMs: names, walls, moves, and what a daemon that was killed finds again."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, running
from tests.support.namespaces import Host
from tests.system.conftest import IMAGE, load_busybox
from tests.system.test_network import DNS, fetch, from_outside, get

pytestmark = [pytest.mark.vm, pytest.mark.root]

SERVE = "echo $HOSTNAME > /index.html; exec httpd -f -p 80 -h /"


@pytest.fixture(scope="module")
def outside() -> Iterator[Host]:
    with Host("own", "198.51.100.1", "198.51.100.2") as host:
        names = host.popen([sys.executable, "-c", DNS])
        time.sleep(1)
        yield host
        names.kill()
        names.wait()


@pytest.fixture(scope="module")
def daemon(outside: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp("own") / "d"
    with running(directory, bridge="hctown0", subnet="172.27.0.0/16", dns=["198.51.100.2"]) as daemon:
        load_busybox(daemon)
        for name in ("front", "back"):
            daemon.docker("network", "create", name)
        daemon.docker("network", "create", "--internal", "inner")
        yield daemon
        for item in daemon.call("GET", "/containers/json?all=1")[1]:
            daemon.call("DELETE", f"/containers/{item['Id']}?force=1")
        assert daemon.docker("network", "prune", "-f").returncode == 0
        assert daemon.docker("network", "ls", "-q").stdout.count("\n") == 2


@pytest.fixture(autouse=True)
def tidy(daemon: Daemon) -> Iterator[None]:
    yield
    for item in daemon.call("GET", "/containers/json?all=1")[1]:
        daemon.call("DELETE", f"/containers/{item['Id']}?force=1")


def place(daemon: Daemon, container: str, network: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(daemon.docker("inspect", container).stdout)[0]["NetworkSettings"]["Networks"]
    return dict(found[network])


def serve(daemon: Daemon, name: str, network: str, *options: str) -> str:
    """Its address."""
    daemon.docker("run", "-d", "--name", name, "--network", network, *options, IMAGE, "sh", "-c", SERVE)
    address = str(place(daemon, name, network)["IPAddress"])
    assert fetch(f"http://{address}/index.html")
    return address


def test_containers_of_a_network_find_each_other_and_nobody_elses(daemon: Daemon) -> None:
    web = serve(daemon, "web", "front", "--network-alias", "www", "--hostname", "webby")
    names = ("web", "www", "webby", "WEB", "web.front")
    asked = "; ".join(f"nslookup {name}. | tail -n +3" for name in names)
    seen = daemon.docker("run", "--rm", "--network", "front", IMAGE, "sh", "-c", f"{asked}; {get('web', 80)}").stdout
    assert seen.count(f"Address: {web}") == len(names)
    assert "webby\n" in seen
    script = f"nslookup web.; nslookup {web}; {get(web, 80)}; ping -c1 -W2 {web}; nslookup some.name"
    seen = daemon.docker("run", "--rm", "--network", "back", IMAGE, "sh", "-c", script, check=False).stdout
    assert f"Address: {web}" not in seen and "webby" not in seen and "web.front" not in seen
    assert "1 packets received" not in seen
    assert "some.name\nAddress: 198.51.100.2" in seen, "names of the world are asked for by the way"


def test_an_address_has_a_name_and_a_name_without_ipv6_is_said_at_once(daemon: Daemon) -> None:
    web = serve(daemon, "web", "front")
    script = f"nslookup {web}; nslookup -type=aaaa web. && echo at once"
    seen = daemon.docker("run", "--rm", "--network", "front", IMAGE, "sh", "-c", script, check=False).stdout
    assert "name = web.front" in seen and "at once" in seen


def test_names_follow_renames_restarts_and_ends(daemon: Daemon) -> None:
    serve(daemon, "web", "front")
    daemon.docker("run", "-d", "--name", "asks", "--network", "front", IMAGE, "sleep", "1000")

    def known(name: str) -> bool:
        found = daemon.docker("exec", "asks", "sh", "-c", f"nslookup {name}. | grep -c 'Address: 172'", check=False)
        return found.stdout.strip() == "1"

    assert known("web")
    daemon.docker("rename", "web", "ui")
    assert known("ui") and not known("web")
    daemon.docker("stop", "-t", "1", "ui")
    assert not known("ui")
    daemon.docker("start", "ui")
    assert known("ui")


def test_an_alias_of_several_is_each_of_them_in_turn(daemon: Daemon) -> None:
    addresses = {serve(daemon, f"web{number}", "front", "--network-alias", "web") for number in (1, 2)}
    script = "for i in 1 2 3 4; do nslookup web. | grep 'Address: 172' | head -1; done"
    seen = daemon.docker("run", "--rm", "--network", "front", IMAGE, "sh", "-c", script).stdout
    assert {line.removeprefix("Address: ") for line in seen.splitlines()} == addresses


def test_nothing_leads_out_of_an_internal_network_nor_into_it(daemon: Daemon, outside: Host) -> None:
    web = serve(daemon, "web", "inner", "-p", "18091:80")
    script = f"{get('web', 80)}; ping -c1 -W2 198.51.100.2; ip route; nslookup some.name"
    seen = daemon.docker("run", "--rm", "--network", "inner", IMAGE, "sh", "-c", script, check=False).stdout
    assert seen.splitlines()[0], "they reach each other"
    assert "1 packets received" not in seen and "default" not in seen and "198.51.100.2\n" not in seen
    assert from_outside(outside, "198.51.100.1", 18091) == from_outside(outside, web, 80) == ""


def test_a_network_has_published_ports_and_a_way_out(daemon: Daemon, outside: Host) -> None:
    serve(daemon, "web", "front", "-p", "18092:80", "--hostname", "webby")
    assert from_outside(outside, "198.51.100.1", 18092) == "webby\n"
    assert fetch("http://127.0.0.1:18092/index.html") == "webby\n"
    script = f"ping -c1 -W5 198.51.100.2; {get('198.51.100.1', 18092)}"
    for network in ("front", "back", "bridge"):
        seen = daemon.docker("run", "--rm", "--network", network, IMAGE, "sh", "-c", script).stdout
        assert "1 packets received" in seen and seen.endswith("webby\n"), network


def test_a_container_has_the_address_and_the_mac_that_it_was_given(daemon: Daemon) -> None:
    daemon.docker("network", "create", "--subnet", "10.77.0.0/24", "--gateway", "10.77.0.254", "fixed")
    try:
        wanted = ("--network", "fixed", "--ip", "10.77.0.77", "--mac-address", "02:00:00:00:00:77")
        seen = daemon.docker(
            "run", "--rm", *wanted, IMAGE, "sh", "-c", "ip addr show eth0; ip route; cat /etc/resolv.conf"
        )
        for words in ("10.77.0.77/24", "02:00:00:00:00:77", "default via 10.77.0.254", "nameserver 172.27.0.1"):
            assert words in seen.stdout
    finally:
        daemon.docker("network", "rm", "fixed")


def test_a_running_container_moves_from_network_to_network(daemon: Daemon, outside: Host) -> None:
    serve(daemon, "web", "front", "-p", "18093:80")
    daemon.docker("network", "disconnect", "front", "web")
    assert json.loads(daemon.docker("inspect", "web").stdout)[0]["NetworkSettings"]["Networks"] == {}
    assert from_outside(outside, "198.51.100.1", 18093) == ""
    daemon.docker("network", "connect", "--alias", "www", "back", "web")
    address = place(daemon, "web", "back")["IPAddress"]
    assert fetch(f"http://{address}/index.html")
    assert from_outside(outside, "198.51.100.1", 18093)
    assert address in daemon.docker("exec", "web", "nslookup", "www.").stdout, "it asks as before, and is answered"
    ask = f"{get('www', 80)}; ping -c1 -W2 {address}"
    assert "1 packets received" in daemon.docker("run", "--rm", "--network", "back", IMAGE, "sh", "-c", ask).stdout
    there = daemon.docker("run", "--rm", "--network", "front", IMAGE, "sh", "-c", ask, check=False).stdout
    assert "1 packets received" not in there
    daemon.docker("restart", "-t", "1", "web")
    assert place(daemon, "web", "back")["IPAddress"] == address


def test_a_container_of_the_default_network_that_visits_another_finds_its_neighbours(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "visitor", IMAGE, "sleep", "600")
    serve(daemon, "web", "front", "--hostname", "webby")
    daemon.docker("network", "connect", "front", "visitor")
    assert "webby\n" in daemon.docker("exec", "visitor", "sh", "-c", get("web", 80)).stdout


def test_a_container_on_two_networks_is_found_and_reached_on_both_and_joins_none_of_them(daemon: Daemon) -> None:
    first = serve(daemon, "web", "front", "--hostname", "webby")
    daemon.docker("network", "connect", "--alias", "site", "back", "web")
    second = str(place(daemon, "web", "back")["IPAddress"])
    for network, alias, address in (("front", "web", first), ("back", "site", second)):
        ask = f"nslookup {alias}.; {get(alias, 80)}; ping -c1 -W5 {alias}"
        seen = daemon.docker("run", "--rm", "--network", network, IMAGE, "sh", "-c", ask).stdout
        assert f"Address: {address}" in seen and "webby\n" in seen and "1 packets received" in seen, network
    other = str(serve(daemon, "other", "back"))
    ask = f"nslookup other.; {get('other', 80)}; ping -c1 -W5 -I {second} {other}"
    seen = daemon.docker("exec", "web", "sh", "-c", ask).stdout
    assert f"Address: {other}" in seen and "1 packets received" in seen
    crossing = f"ip route add {other} via {first}; ping -c1 -W2 {other}"
    seen = daemon.docker("run", "--rm", "--privileged", "--network", "front", IMAGE, "sh", "-c", crossing, check=False)
    assert "1 packets received" not in seen.stdout, "it is no way from one to the other"
    daemon.kill()
    daemon.start()
    assert "1 packets received" in daemon.docker("exec", "other", "ping", "-c1", "-W5", "site").stdout
    daemon.docker("restart", "-t", "1", "web")
    assert "1 packets received" in daemon.docker("exec", "other", "ping", "-c1", "-W5", "site").stdout
    daemon.docker("network", "disconnect", "back", "web")
    gone = daemon.docker("exec", "other", "sh", "-c", f"nslookup site.; ping -c1 -W2 {second}", check=False).stdout
    assert "1 packets received" not in gone and f"Address: {second}" not in gone


def test_a_killed_daemon_finds_its_networks_again_and_what_was_half_made_is_gone(daemon: Daemon) -> None:
    web = serve(daemon, "web", "front")
    before = json.loads(daemon.docker("network", "inspect", "front").stdout)
    daemon.kill()
    daemon.start()
    after = json.loads(daemon.docker("network", "inspect", "front").stdout)
    assert after == before
    script = f"nslookup web.; {get('web', 80)}"
    assert f"Address: {web}" in daemon.docker("run", "--rm", "--network", "front", IMAGE, "sh", "-c", script).stdout


def test_dockers_own_tour_of_networks(daemon: Daemon, tmp_path: Path) -> None:
    ident = daemon.docker(
        "network", "create", "--label", "a=b", "--opt", "com.docker.network.driver.mtu=1400", "tour"
    ).stdout.strip()
    listed = daemon.docker("network", "ls", "--filter", "label=a=b", "--format", "{{.Name}} {{.Driver}} {{.Scope}}")
    assert listed.stdout == "tour bridge local\n"
    assert daemon.docker("network", "inspect", ident[:12], "-f", "{{.Name}}").stdout == "tour\n"
    assert "already exists" in daemon.docker("network", "create", "tour", check=False).stderr
    assert "predefined" in daemon.docker("network", "create", "bridge", check=False).stderr
    seen = daemon.docker("run", "--rm", "--network", ident[:12], IMAGE, "cat", "/sys/class/net/eth0/mtu").stdout
    assert seen == "1400\n"
    daemon.docker("create", "--name", "on", "--network", "tour", IMAGE)
    assert "active endpoints" in daemon.docker("network", "rm", "tour", check=False).stderr
    daemon.docker("rm", "on")
    assert daemon.docker("network", "rm", "tour").stdout == "tour\n"
    assert daemon.docker("network", "inspect", "tour", check=False).returncode == 1
