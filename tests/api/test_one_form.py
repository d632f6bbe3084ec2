# SPDX-License-Identifier: Apache-2.0
"""Rights are asked for in many spellings and judged in one form: whoever looks at a `ContainerRequest` has seen all of
them (C4b of docs/security.md; Docker Desktop's CVE-2026-6406 looked at `Binds` and not at `Mounts`)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from hypercell.api.docker.create import parse_create
from hypercell.api.docker.create.security import parse_capabilities
from hypercell.api.docker.documents import Fields
from hypercell.base.errors import HypercellError, InvalidArgument, Unsupported
from hypercell.cloud import capabilities, oci, resolve
from hypercell.cloud.contract import ContainerRequest
from hypercell.cloud.validate import validate
from tests.support.image_shelf import image

PLAIN = "a" * 64


def parsed(host: dict[str, Any], **config: Any) -> ContainerRequest:
    return parse_create(
        json.dumps({"Image": "busybox", "Cmd": ["sh"], **config, "HostConfig": host}).encode(), ""
    ).request


def carried_out(request: ContainerRequest) -> dict[str, Any]:
    """The OCI config that a guest gets for it."""
    return oci.config(resolve.resolve(request, image(), PLAIN, 4), "6.1.0")


SAME: list[list[tuple[dict[str, Any], dict[str, Any]]]] = [
    [({"Privileged": True}, {}), ({"privileged": True}, {}), ({"PRIVILEGED": True}, {})],
    [({"CapAdd": [name]}, {}) for name in ("SYS_ADMIN", "sys_admin", "CAP_SYS_ADMIN", "cap_Sys_Admin")],
    [({"CapAdd": ["ALL"]}, {}), ({"capadd": ["all"]}, {}), ({"CapAdd": ["all", "ALL"]}, {})],
    [({"CapDrop": ["ALL"]}, {}), ({"CapDrop": ["all"]}, {})],
    [({"SecurityOpt": ["seccomp=unconfined"]}, {}), ({"SecurityOpt": ["seccomp:unconfined"]}, {})],
    [({"SecurityOpt": [f"no-new-privileges{end}"]}, {}) for end in ("", "=true", ":true", "=1")],
    [
        ({"Tmpfs": {"/t": "size=4096,mode=700"}}, {}),
        ({"Tmpfs": {"/x/..//t/": "size=4096,mode=700"}}, {}),
        ({"Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 4096, "Mode": 0o700}}]}, {}),
        ({"mounts": [{"type": "tmpfs", "target": "/./t", "tmpfsoptions": {"sizebytes": 4096, "mode": 448}}]}, {}),
    ],
    [({"NetworkMode": "none"}, {}), ({}, {"NetworkDisabled": True}), ({"networkmode": ""}, {"networkdisabled": True})],
    [({"NanoCpus": 2 * 10**9}, {}), ({"CpuQuota": 200_000}, {}), ({"CpuQuota": 2000, "CpuPeriod": 1000}, {})],
]  # fmt: skip


@pytest.mark.parametrize("spellings", SAME, ids=lambda spellings: json.dumps(spellings[0])[:40])
def test_what_means_the_same_is_the_same(spellings: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    requests = [parsed(host, **config) for host, config in spellings]
    first = replace(requests[0], door={}, cap_add=(), cap_drop=())
    plain = carried_out(parsed({}))
    for request in requests:
        assert replace(request, door={}, cap_add=(), cap_drop=()) == first
        assert carried_out(request) == carried_out(requests[0])
    if "NetworkMode" not in spellings[0][0]:  # which is the pod's matter
        assert carried_out(requests[0]) != plain, "the spelling does nothing at all"


OLD_OR_FOREIGN: list[tuple[dict[str, Any], dict[str, Any]]] = [
    # Where Docker's API before 1.18 had them, and Windows and Podman have others.
    ({}, {"Memory": 1 << 30}),
    ({}, {"CpuShares": 5}),
    ({}, {"Privileged": True}),
    ({}, {"Binds": ["/:/host"]}),
    ({}, {"VolumesFrom": "other"}),
    ({}, {"PortSpecs": ["80"]}),
    ({}, {"PublishAllPorts": True}),
    ({"Capabilities": ["CAP_SYS_ADMIN"]}, {}),
    ({"CapabilitiesAdd": ["ALL"]}, {}),
    ({"LxcConf": [{"Key": "lxc.cap.keep", "Value": "all"}]}, {}),
    ({"Volumes": {"/h": {}}}, {}),
    ({"ReadonlyRootFS ": True}, {}),
    ({"Privileged\u200b": True}, {}),
    ({"Pr\u0131vileged": True}, {}),
    ({"HostConfig": {"Privileged": True}}, {}),
    ({"ProcessSpec": {}, "Spec": {"linux": {"devices": [1]}}}, {}),
]


@pytest.mark.parametrize(("host", "config"), OLD_OR_FOREIGN, ids=lambda value: ascii(value)[:50])
def test_a_spelling_that_we_do_not_know_is_refused_and_not_passed_over(
    host: dict[str, Any], config: dict[str, Any]
) -> None:
    with pytest.raises((InvalidArgument, Unsupported)):
        parsed(host, **config)


@pytest.mark.parametrize("source", ["/", "/etc", "../..", "//", "/proc/self/root", "volume", ""])
@pytest.mark.parametrize("kind", ["BIND", "Bind", "bind ", "npipe", "cluster", "image", "", "tmpfs "])
def test_only_a_bind_reaches_a_file_of_the_host(kind: str, source: str) -> None:
    with pytest.raises(HypercellError):
        parsed({"Mounts": [{"Type": kind, "Source": source, "Target": "/h"}]})


@pytest.mark.parametrize("kind", ["volume", "tmpfs"])
@pytest.mark.parametrize("source", ["/", "/etc", "../..", "//", "/proc/self/root"])
def test_the_source_of_a_mount_is_no_path(kind: str, source: str) -> None:
    with pytest.raises(InvalidArgument):
        validate(parsed({"Mounts": [{"Type": kind, "Source": source, "Target": "/h"}]}))


@pytest.mark.parametrize("spec", ["../..:/h", "./x:/h", "~:/h", "a/b:/h:z", "/etc:/h:shared", "/etc:/h:ro,nocopy"])
def test_a_bind_names_its_source_by_an_absolute_path_and_shares_no_mounts(spec: str) -> None:
    with pytest.raises(HypercellError):
        validate(parsed({"Binds": [spec]}))


@pytest.mark.parametrize("names", [["SYS_ADMİN"], ["SYS_ADMIN "], ["CAP_CAP_SYS_ADMIN"], ["SYS-ADMIN"], ["21"], [""]])
def test_a_capability_is_one_of_the_kernels_or_refused(names: list[str]) -> None:
    with pytest.raises(InvalidArgument):
        parse_capabilities(Fields({"CapAdd": names}), "CapAdd")


def test_a_drop_beats_an_add_in_every_spelling() -> None:
    for add, drop in ((["ALL"], ["sys_admin"]), (["cap_sys_admin"], ["SYS_ADMIN"]), (["SYS_ADMIN"], ["CAP_SYS_ADMIN"])):
        request = parsed({"CapAdd": add, "CapDrop": drop})
        granted = capabilities.granted(request.cap_add, request.cap_drop, request.privileged)
        assert "CAP_SYS_ADMIN" not in granted
        assert all("CAP_SYS_ADMIN" not in names for names in carried_out(request)["process"]["capabilities"].values())
