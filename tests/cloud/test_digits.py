# SPDX-License-Identifier: Apache-2.0
"""What only looks like a number is none, in whatever place of a request or an image it stands."""

from __future__ import annotations

import json

import pytest

from hypercell.base.errors import InvalidArgument
from hypercell.cloud import seccomp, signals, tmpfs
from hypercell.cloud.validate import exposed_ports
from tests.support.digits import LOOK_LIKE_NUMBERS
from tests.support.house import House


@pytest.mark.parametrize("text", LOOK_LIKE_NUMBERS)
def test_ports_signals_and_sizes_are_refused(text: str) -> None:
    for attempt in (
        lambda: exposed_ports(text),
        lambda: exposed_ports(f"80-{text}/tcp"),
        lambda: signals.number(text),
        *(lambda name=name: tmpfs.options(f"{name}={text}") for name in ("size", "uid", "gid", "nr_inodes", "mode")),
    ):
        with pytest.raises(InvalidArgument):
            attempt()


@pytest.mark.parametrize("text", LOOK_LIKE_NUMBERS[:6])
async def test_a_group_is_a_name_then(home: House, text: str) -> None:
    ident = await home.create("true", group_add=(text, "12"))
    assert home.node.get(ident).record.spec.oci["process"]["user"]["additionalGids"] == [text, 12]


@pytest.mark.parametrize("value", [*LOOK_LIKE_NUMBERS, "1", 1.5, True])
def test_a_profile_has_integers_where_integers_belong(value: object) -> None:
    rule = {"names": ["read"], "action": "SCMP_ACT_ERRNO"}
    argument = {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}
    for wrong in (
        {"defaultErrnoRet": value},
        {"syscalls": [{**rule, "errnoRet": value}]},
        {"syscalls": [{**rule, "args": [{**argument, "value": value}]}]},
        {"syscalls": [{**rule, "args": [{**argument, "index": value}]}]},
    ):
        with pytest.raises(InvalidArgument, match="invalid seccomp profile"):
            seccomp.resolve(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", **wrong}), frozenset(), "6.1.0")


@pytest.mark.parametrize("version", ["4.\N{SUPERSCRIPT TWO}", "\N{ARABIC-INDIC DIGIT ONE}.1", "", "x.y"])
def test_a_profile_asks_for_a_kernel_by_its_number(version: str) -> None:
    rule = {"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": version or "."}}
    with pytest.raises(InvalidArgument, match="is no kernel version"):
        seccomp.resolve(json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}), frozenset(), "6.1.0")


def test_a_request_may_still_say_numbers() -> None:
    assert exposed_ports("80-81/udp") == [(80, "udp"), (81, "udp")]
    assert signals.number("9") == 9
