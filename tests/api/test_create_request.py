# SPDX-License-Identifier: Apache-2.0
"""Create requests: every spelling becomes one form, and nothing that was asked for is dropped in silence (C4b, C6)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hypercell.api.docker.create import Parsed, parse_create
from hypercell.base.errors import HypercellError, InvalidArgument, Unsupported
from hypercell.cloud.contract import RestartPolicy, Ulimit
from hypercell.node.network import BRIDGE, PublishedPort, Wish


def parse(name: str = "", host: dict[str, Any] | None = None, **config: Any) -> Parsed:
    return parse_create(json.dumps({"Image": "busybox", **config, "HostConfig": host or {}}).encode(), name)


# The body that docker CLI 28 sends for `docker run busybox`, as recorded.
PLAIN = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": True,
    "AttachStderr": True,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": None,
    "Cmd": None,
    "Image": "busybox",
    "Volumes": {},
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": {},
    "HostConfig": {
        "Binds": None,
        "ContainerIDFile": "",
        "LogConfig": {"Type": "", "Config": {}},
        "NetworkMode": "default",
        "PortBindings": {},
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "AutoRemove": False,
        "VolumeDriver": "",
        "VolumesFrom": None,
        "ConsoleSize": [48, 180],
        "CapAdd": None,
        "CapDrop": None,
        "CgroupnsMode": "",
        "Dns": [],
        "DnsOptions": [],
        "DnsSearch": [],
        "ExtraHosts": None,
        "GroupAdd": None,
        "IpcMode": "",
        "Cgroup": "",
        "Links": None,
        "OomScoreAdj": 0,
        "PidMode": "",
        "Privileged": False,
        "PublishAllPorts": False,
        "ReadonlyRootfs": False,
        "SecurityOpt": None,
        "UTSMode": "",
        "UsernsMode": "",
        "ShmSize": 0,
        "Isolation": "",
        "CpuShares": 0,
        "Memory": 0,
        "NanoCpus": 0,
        "CgroupParent": "",
        "BlkioWeight": 0,
        "BlkioWeightDevice": [],
        "BlkioDeviceReadBps": [],
        "BlkioDeviceWriteBps": [],
        "BlkioDeviceReadIOps": [],
        "BlkioDeviceWriteIOps": [],
        "CpuPeriod": 0,
        "CpuQuota": 0,
        "CpuRealtimePeriod": 0,
        "CpuRealtimeRuntime": 0,
        "CpusetCpus": "",
        "CpusetMems": "",
        "Devices": [],
        "DeviceCgroupRules": None,
        "DeviceRequests": None,
        "MemoryReservation": 0,
        "MemorySwap": 0,
        "MemorySwappiness": -1,
        "OomKillDisable": False,
        "PidsLimit": 0,
        "Ulimits": [],
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
        "MaskedPaths": None,
        "ReadonlyPaths": None,
    },
    "NetworkingConfig": {
        "EndpointsConfig": {
            "default": {
                "IPAMConfig": None,
                "Links": None,
                "Aliases": None,
                "MacAddress": "",
                "DriverOpts": None,
                "GwPriority": 0,
                "NetworkID": "",
                "EndpointID": "",
                "Gateway": "",
                "IPAddress": "",
                "IPPrefixLen": 0,
                "IPv6Gateway": "",
                "GlobalIPv6Address": "",
                "GlobalIPv6PrefixLen": 0,
                "DNSNames": None,
            }
        }
    },
}


def test_what_the_cli_sends_for_a_plain_run_asks_for_nothing() -> None:
    parsed = parse_create(json.dumps(PLAIN).encode(), "web")
    request = parsed.request
    assert parsed.warnings == []
    assert (request.image, request.name, request.network) == ("busybox", "web", "bridge")
    assert (request.command, request.entrypoint, request.env) == (None, None, ())
    assert (request.memory, request.nano_cpus, request.size, request.published) == (0, 0, "", ())
    assert request.restart == RestartPolicy()
    assert request.door["HostConfig"]["ConsoleSize"] == [48, 180]


def test_what_is_asked_for_arrives() -> None:
    request = parse(
        "/db",
        host={
            "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}], "53/udp": [{}]},
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
            "CapAdd": ["net_admin", "CAP_SYS_TIME", "NET_ADMIN"],
            "CapDrop": ["all"],
            "Memory": 64 << 20,
            "NanoCpus": 1_500_000_000,
            "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}],
            "SecurityOpt": ["no-new-privileges", "seccomp=unconfined", "label:disable", "apparmor=unconfined"],
            "Tmpfs": {"/run": "size=1m"},
            "Mounts": [{"Type": "tmpfs", "Target": "/t/", "TmpfsOptions": {"SizeBytes": 4096, "Mode": 0o700}}],
            "ExtraHosts": ["db:10.0.0.1", "six:[::1]"],
            "Dns": ["1.1.1.1"],
            "Sysctls": {"net.core.somaxconn": "64"},
            "PidsLimit": 100,
            "Init": True,
            "ReadonlyRootfs": True,
        },
        Cmd="single",
        Entrypoint=["/e"],
        Env=["A=b", "DROP"],
        User="1:2",
        WorkingDir="/a/../b/",
        Labels={"l": "v"},
        StopTimeout=3,
        ExposedPorts={"443": {}},
    ).request
    assert request.name == "db"
    assert request.published == (
        PublishedPort(80, "tcp", "127.0.0.1", 8080),
        PublishedPort(53, "udp", "0.0.0.0", 0),
    )
    assert request.restart == RestartPolicy("on-failure", 3)
    assert request.cap_add == ("CAP_NET_ADMIN", "CAP_SYS_TIME")
    assert request.cap_drop == ("ALL",)
    assert request.ulimits == (Ulimit("nofile", 10, 20),)
    assert (request.no_new_privileges, request.seccomp) == (True, "unconfined")
    assert request.tmpfs == {"/run": "size=1m", "/t": "size=4096,mode=700"}
    assert request.extra_hosts == ("db:10.0.0.1", "six:::1")
    assert (request.command, request.entrypoint) == (("single",), ("/e",))
    assert (request.working_dir, request.exposed, request.init) == ("/b", ("443/tcp",), True)


@pytest.mark.parametrize(
    ("cpu", "nano"),
    [
        ({"NanoCpus": 2_000_000_000}, 2_000_000_000),
        ({"CpuQuota": 50_000}, 500_000_000),
        ({"CpuQuota": 150_000, "CpuPeriod": 50_000}, 3_000_000_000),
        ({"CpuQuota": -1}, 0),
    ],
)
def test_both_spellings_of_cpus_are_one(cpu: dict[str, int], nano: int) -> None:
    assert parse(host=cpu).request.nano_cpus == nano


@pytest.mark.parametrize(
    ("where", "size"),
    [
        ({"host": {"Annotations": {"io.hypercell.size": "m1"}}}, "m1"),
        ({"Labels": {"sh_hyper_instancetype": "S2"}}, "s2"),
        ({"host": {"Annotations": {"io.hypercell.size": "m1"}}, "Labels": {"sh_hyper_instancetype": "m1"}}, "m1"),
        ({}, ""),
    ],
)
def test_a_size_is_said_by_annotation_or_label(where: dict[str, Any], size: str) -> None:
    assert parse(**where).request.size == size


@pytest.mark.parametrize(("given", "wanted"), [("", ""), ("default", ""), ("shared", "shared"), ("cold", "cold")])
def test_an_isolation_of_ours_is_one_of_docker_says_nothing(given: str, wanted: str) -> None:
    assert parse(host={"Isolation": given}).request.isolation == wanted


def test_two_sizes_are_an_error() -> None:
    with pytest.raises(InvalidArgument, match="different sizes"):
        parse(host={"Annotations": {"io.hypercell.size": "m1"}}, Labels={"sh_hyper_instancetype": "s1"})


@pytest.mark.parametrize(
    ("entrypoint", "parsed"), [(None, None), ([""], ()), ("", ()), ([], ()), ("/x", ("/x",)), (["/x", ""], ("/x", ""))]
)
def test_entrypoints_as_docker_reads_them(entrypoint: Any, parsed: Any) -> None:
    assert parse(Entrypoint=entrypoint).request.entrypoint == parsed


@pytest.mark.parametrize("mode", ["", "default", "bridge", BRIDGE, BRIDGE[:12]])
def test_the_bridge_has_many_names(mode: str) -> None:
    assert parse(host={"NetworkMode": mode}).request.network == "bridge"


def test_a_disabled_network_is_none() -> None:
    assert parse(NetworkDisabled=True).request.network == "none"
    assert parse(host={"NetworkMode": "none"}).request.network == "none"


@pytest.mark.parametrize(
    ("text", "size"), [("64m", 64 << 20), ("2G", 2 << 30), ("1.5GiB", 3 << 29), ("134217728", 128 << 20)]
)
def test_the_writable_layer_has_the_size_that_is_asked_for(text: str, size: int) -> None:
    assert parse(host={"StorageOpt": {"size": text}}).request.disk_size == size


@pytest.mark.parametrize(
    "options", [{"size": "1m"}, {"size": "-1g"}, {"size": ""}, {"size": "1e9"}, {"dm.basesize": "1g"}]
)
def test_a_storage_option_that_cannot_be_met_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument):
        parse(host={"StorageOpt": options})


def test_mode_host_is_the_vms() -> None:
    modes = {"PidMode": "host", "IpcMode": "host", "UTSMode": "host", "CgroupnsMode": "host"}
    parsed = parse(host=modes)
    assert set(parsed.request.vm_namespaces) == {"pid", "ipc", "uts", "cgroup"}
    assert parse(host={"IpcMode": "private"}).request.vm_namespaces == ()
    assert parse(host={"IpcMode": "none"}).request.no_shm


def test_what_has_no_meaning_in_a_vm_is_answered_with_a_warning() -> None:
    wishes = {"OomKillDisable": True, "KernelMemoryTCP": 1 << 20, "BlkioWeight": 500}
    assert [name for name in wishes if any(name in warning for warning in parse(host=wishes).warnings)] == list(wishes)
    assert parse(host={"OomKillDisable": False}).warnings == parse().warnings


def _mount(**members: Any) -> dict[str, Any]:
    """`HostConfig` with one volume among its `Mounts`."""
    return {"Mounts": [{"Type": "volume", "Source": "data", "Target": "/v", **members}]}


# What is not built is refused in every spelling, with the option's name.
@pytest.mark.parametrize(
    ("host", "config", "named"),
    [
        ({"Binds": ["/a:/b:shared"]}, {}, "mount propagation"),
        ({"Mounts": [{"Type": "image", "Target": "/v"}]}, {}, "'image'"),
        (_mount(VolumeOptions={"DriverConfig": {"Name": "nfs"}}), {}, "VolumeOptions.DriverConfig 'nfs'"),
        ({"VolumeDriver": "nfs"}, {}, "HostConfig.VolumeDriver"),
        ({"Devices": [{"PathOnHost": "/dev/null"}]}, {}, "HostConfig.Devices"),
        ({"DeviceRequests": [{"Count": -1}]}, {}, "HostConfig.DeviceRequests"),
        ({"Links": ["a:b"]}, {}, "HostConfig.Links"),
        ({"NetworkMode": "host"}, {}, "NetworkMode 'host'"),
        ({"BlkioDeviceReadBps": [{"Path": "/dev/sda", "Rate": 1}]}, {}, "HostConfig.BlkioDeviceReadBps"),
        ({"SecurityOpt": ["apparmor=docker-default"]}, {}, "apparmor"),
        ({"SecurityOpt": ["label=type:x"]}, {}, "label"),
        ({"PortBindings": {"80/tcp": [{"HostPort": "8000-8010"}]}}, {}, "range"),
        ({"PortBindings": {"80/sctp": [{}]}}, {}, "SCTP"),
        ({"PortBindings": {"80/tcp": [{"HostIp": "::1"}]}}, {}, "IPv6"),
    ],
)
def test_what_is_not_built_is_refused_by_name(host: dict[str, Any], config: dict[str, Any], named: str) -> None:
    with pytest.raises(Unsupported, match=named):
        parse(host=host, **config)


@pytest.mark.parametrize(
    ("host", "config", "message"),
    [
        ({}, {"Env": ["=x"]}, "invalid environment variable"),
        ({}, {"Env": ["A=\0"]}, "NUL"),
        ({}, {"Env": "A=b"}, "Env: must be a list"),
        ({}, {"Env": [1]}, "Env: must be a string"),
        ({}, {"Cmd": {"a": 1}}, "Cmd"),
        ({}, {"Tty": "yes"}, "Tty: must be true or false"),
        ({}, {"Healthcheck": []}, "Healthcheck: must be an object"),
        ({}, {"Healthcheck": {"Test": "true"}}, "Healthcheck.Test: must be a list"),
        ({}, {"Healthcheck": {"Interval": "5s"}}, "Healthcheck.Interval: must be an integer"),
        ({}, {"Healthcheck": {"Retries": 1 << 63}}, "out of range"),
        ({}, {"Healthcheck": {"Intervall": 1}}, "unknown field Healthcheck.Intervall"),
        ({}, {"Labels": {"a": 1}}, "Labels: must be a string"),
        ({}, {"WorkingDir": "rel"}, "needs to be an absolute path"),
        ({}, {"Hostname": "a b"}, "invalid hostname"),
        ({}, {"Hostname": "x\n127.0.0.1 evil"}, "invalid hostname"),
        ({}, {"Hostname": "a" * 65}, "longer than 64"),
        ({}, {"User": "u" * 300}, "User: longer"),
        ({}, {"StopTimeout": 1e300}, "StopTimeout: must be an integer"),
        ({}, {"StopTimeout": True}, "StopTimeout: must be an integer"),
        ({}, {"ExposedPorts": {"0/tcp": {}}}, "invalid port specification"),
        ({}, {"ExposedPorts": {"65536/tcp": {}}}, "invalid port specification"),
        ({}, {"ExposedPorts": {"80/tcp;x": {}}}, "invalid protocol"),
        ({}, {"Nonsense": 1}, "unknown field Nonsense"),
        ({"Nonsense": 1}, {}, "unknown field HostConfig.Nonsense"),
        ({"Memory": 1}, {}, "Minimum memory limit allowed is 6MB: these are 1 bytes; --memory 512m"),
        ({"Memory": -1}, {}, "out of range"),
        ({"Memory": 1 << 70}, {}, "out of range"),
        ({"Memory": "1g"}, {}, "HostConfig.Memory: must be an integer"),
        ({"MemorySwap": 1 << 30}, {}, "always set the Memory limit"),
        ({"MemorySwap": 1 << 20, "Memory": 1 << 30}, {}, "should be larger than memory limit"),
        ({"NanoCpus": 1, "CpuQuota": 1000}, {}, "Conflicting options: Nano CPUs and CPU Quota"),
        ({"CpuPeriod": 1}, {}, "CPU cfs period"),
        ({"CpuShares": -1}, {}, "invalid CPU shares"),
        ({"CapAdd": ["CAP_EVERYTHING"]}, {}, 'unknown capability: "CAP_EVERYTHING"'),
        ({"SecurityOpt": ["nonsense"]}, {}, "is not known"),
        ({"SecurityOpt": ["seccomp={"]}, {}, "invalid JSON"),
        ({"SecurityOpt": ["no-new-privileges=maybe"]}, {}, "invalid --security-opt"),
        ({"Ulimits": [{"Name": "nofile", "Soft": 3, "Hard": 2}]}, {}, "less than or equal to hard limit: 3 > 2"),
        ({"Ulimits": [{"Name": "bad", "Soft": 1, "Hard": 1}]}, {}, "invalid ulimit type"),
        ({"Tmpfs": {"rel": ""}}, {}, "mount path must be absolute"),
        ({"Tmpfs": {"/": ""}}, {}, "destination can't be '/'"),
        ({"Tmpfs": {"/a/..": ""}}, {}, "destination can't be '/'"),
        ({"ExtraHosts": ["noaddress"]}, {}, "bad format for add-host"),
        ({"ExtraHosts": ["a\nb:1.1.1.1"]}, {}, "bad format for add-host"),
        ({"ExtraHosts": ["a:999.1.1.1"]}, {}, "invalid IP address"),
        ({"Dns": ["nowhere"]}, {}, "invalid IP address"),
        ({"PortBindings": {"80/tcp": [{"HostPort": "x"}]}}, {}, "invalid port specification"),
        ({"PortBindings": {"80/tcp": [{"HostIp": "x"}]}}, {}, "invalid IP address"),
        ({"RestartPolicy": {"Name": "sometimes"}}, {}, "unknown policy 'sometimes'"),
        ({"RestartPolicy": {"Name": "always", "MaximumRetryCount": 1}}, {}, "only be used with 'on-failure'"),
        ({"RestartPolicy": {"Name": "always"}, "AutoRemove": True}, {}, "can't create 'AutoRemove'"),
        ({"OomScoreAdj": 1001}, {}, r"range for oom score adj is \[-1000, 1000\]"),
        ({"ConsoleSize": [1]}, {}, "ConsoleSize"),
        ({"Runtime": "runc"}, {}, "unknown or invalid runtime name: runc"),
        ({"Isolation": "hyperv"}, {}, "invalid isolation"),
        ({"Annotations": {"io.hypercell.size": "xxl"}}, {}, "unknown size 'xxl'"),
        ({"Annotations": {"": "x"}}, {}, "empty string is not permitted"),
    ],
)
def test_what_is_wrong_is_refused_by_name(host: dict[str, Any], config: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        parse(host=host, **config)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "got EOF while reading request body"),
        (b"null", "config cannot be empty"),
        (b"[]", "must be an object"),
        (b'{"Image":"a","Image":"b"}', "duplicate key 'Image'"),
        (b'{"Image":"a","image":"b"}', "duplicate field image"),
        (b'{"HostConfig":{"Binds":[],"BINDS":["/:/h"]}}', "duplicate field HostConfig.BINDS"),
        (b'{"HostConfig":{},"hostconfig":{"Binds":["/:/h"]}}', "duplicate field hostconfig"),
        (b'{"Image":"a"} {"Image":"b"}', "invalid JSON"),
        (b'{"Image":NaN}', "NaN is not JSON"),
        (b'{"StopTimeout":' + b"9" * 10_000 + b"}", "invalid JSON"),
        (b"[" * 100_000, "nested deeper"),
        (b'{"a":' * 100_000, "nested deeper"),
        (b"[]," * 200_000, "too many values"),
        (b'"' + b'\\"' * 1_000_000 + b"[" * 50, "invalid JSON"),
        (b"\xff\xfe", "invalid JSON"),
        (b'{"Image":"\\ud800"}', "not valid Unicode"),
        (b"{" + b" " * (5 << 20), "more than"),
    ],
)
def test_malformed_bodies_are_refused(body: bytes, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        parse_create(body, "")


@pytest.mark.parametrize("name", ["a", "-a", "a b", "a\n", "../x", "a" * 256, "é1", "a;b"])
def test_names_that_docker_refuses_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="Invalid container name"):
        parse(name)


@pytest.mark.parametrize(
    ("mode", "endpoints", "wishes"),
    [
        ("mine", {}, ()),
        ("mine", {"mine": None}, ()),
        ("mine", {"mine": {"Aliases": ["db"]}}, (Wish("mine", ("db",)),)),
        ("mine", {"mine": {"IPAMConfig": {"IPv4Address": "10.1.0.9"}}}, (Wish("mine", address="10.1.0.9"),)),
        ("mine", {"mine": {"MacAddress": "02-00-00-00-00-0A"}}, (Wish("mine", mac="02:00:00:00:00:0a"),)),
        ("mine", {"other": {}}, (Wish("mine"), Wish("other"))),
        ("mine", {"other": {}, "mine": {}}, (Wish("mine"), Wish("other"))),
        ("default", {"other": {}}, (Wish("other"),)),
        ("default", {"default": {}}, ()),
        ("none", {"none": {}}, ()),
        ("default", {BRIDGE: {"NetworkID": BRIDGE, "EndpointID": "x", "IPAddress": "1.2.3.4"}}, ()),
    ],
)
def test_what_is_asked_of_networks_is_one_list_the_networks_of_the_mode_first(
    mode: str, endpoints: dict[str, Any], wishes: tuple[Wish, ...]
) -> None:
    request = parse(host={"NetworkMode": mode}, NetworkingConfig={"EndpointsConfig": endpoints}).request
    assert request.endpoints == wishes
    assert request.network == ("bridge" if mode == "default" else mode)


def test_a_mac_address_of_the_container_is_that_of_the_network_of_its_mode() -> None:
    mac = "02:00:00:00:00:01"
    assert parse(MacAddress=mac).request.endpoints == (Wish("bridge", mac=mac),)
    endpoints = {"EndpointsConfig": {"mine": {"Aliases": ["db"]}}}
    parsed = parse(MacAddress=mac, host={"NetworkMode": "mine"}, NetworkingConfig=endpoints)
    assert parsed.request.endpoints == (Wish("mine", ("db",), mac=mac),)


@pytest.mark.parametrize(
    "endpoints",
    [
        {"bridge": {}, "none": {}},
        {"none": {}},
        {"mine": {"Links": ["db:db"]}},
        {"mine": {"IPAMConfig": {"IPv4Address": "here"}}},
        {"mine": {"IPAMConfig": {"IPv4Address": "10.0.0.300"}}},
        {"mine": {"IPAMConfig": {"IPv6Address": "fd00::9"}}},
        {"mine": {"IPAMConfig": {"LinkLocalIPs": ["169.254.1.1"]}}},
        {"mine": {"IPAMConfig": {"Odd": 1}}},
        {"mine": {"MacAddress": "02:00"}},
        {"mine": {"MacAddress": "02:00:00:00:00:01 } accept"}},
        {"mine": {"Aliases": ["x" * 254]}},
        {"mine": {"Aliases": ["x"] * 101}},
        {"bridge": {"DriverOpts": {"a": "b"}}},
        {"bridge": {"Whatever": 1}},
    ],
)
def test_wishes_about_endpoints_are_not_ignored(endpoints: dict[str, Any]) -> None:
    with pytest.raises(HypercellError):
        parse(NetworkingConfig={"EndpointsConfig": endpoints})


def test_what_has_no_meaning_in_a_vm_is_warned_of() -> None:
    parsed = parse(host={"CgroupParent": "/x", "Memory": 64 << 20, "MemorySwap": 1 << 30, "MemorySwappiness": 10})
    assert len(parsed.warnings) == 3
