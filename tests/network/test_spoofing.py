# SPDX-License-Identifier: Apache-2.0
"""Frames that a container may not send, each beside one like it that it may (B8 of docs/security.md)."""

from __future__ import annotations

import asyncio
import os
import re
import struct
from collections.abc import AsyncIterator

import pytest

from hypercell.backends.network import LocalNetwork
from tests.network.test_local_network import Guest, config, db, guest, network

__all__ = ["config", "db", "network"]


def checksum(data: bytes) -> bytes:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)


def udp(source: bytes, target: bytes, source_port: int, target_port: int, data: bytes) -> bytes:
    """An IPv4 packet without a UDP checksum, which IPv4 allows."""
    datagram = struct.pack("!HHHH", source_port, target_port, 8 + len(data), 0) + data
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(datagram), 7, 0, 64, 17, 0, source, target)
    return head[:10] + checksum(head) + head[12:] + datagram


@pytest.fixture
async def pair(network: LocalNetwork) -> AsyncIterator[tuple[Guest, Guest]]:
    one, two = await guest(network), await guest(network)
    yield one, two
    for each in (one, two):
        os.close(each.tap)


def frame(sender: Guest, receiver: Guest, packet: bytes, source: bytes = b"", family: bytes = b"\x08\x00") -> bytes:
    return receiver.mac + (source or sender.mac) + family + packet


async def received(sender: Guest, receiver: Guest, *frames: bytes) -> set[bytes]:
    """The marks, `<…>`, of those of the frames that arrive: all of them before an honest one that is sent last."""
    for each in frames:
        sender.send(each)
    sender.send(frame(sender, receiver, udp(sender.ip, receiver.ip, 1, 1, b"<the end>")))
    found: set[bytes] = set()
    async with asyncio.timeout(20):
        while b"<the end>" not in found:
            try:
                found |= set(re.findall(rb"<[a-z .]+>", os.read(receiver.tap, 65536)))
            except BlockingIOError:
                await asyncio.sleep(0.01)
    return found - {b"<the end>"}


async def test_what_is_not_its_own_does_not_leave_a_container(pair: tuple[Guest, Guest]) -> None:
    one, two = pair
    own = udp(one.ip, two.ip, 1000, 1000, b"<own>")
    addresses = [two.ip, one.gateway, bytes(4), b"\xff" * 4, bytes([127, 0, 0, 1]), bytes([198, 51, 100, 7])]
    forged = [frame(one, two, udp(address, two.ip, 1000, 1000, b"<forged>")) for address in addresses]
    forged += [frame(one, two, own.replace(b"own", b"mac"), mac) for mac in (two.mac, b"\x02\x42" + b"\xff" * 4)]
    assert await received(one, two, *forged, frame(one, two, own)) == {b"<own>"}


async def test_no_container_answers_for_a_dhcp_server(pair: tuple[Guest, Guest]) -> None:
    one, two = pair
    frames = [
        frame(one, two, udp(one.ip, two.ip, port, 68, mark)) for port, mark in ((67, b"<offer>"), (66, b"<other>"))
    ]
    assert await received(one, two, *frames) == {b"<other>"}


async def test_no_tag_hides_a_frame(pair: tuple[Guest, Guest]) -> None:
    """VLAN tags, one or two, with a sound packet behind them; and frames of other families."""
    one, two = pair
    packet = b"\x08\x00" + udp(one.ip, two.ip, 1000, 1000, b"<tagged>")
    tags = [b"\x81\x00\x00\x00", b"\x81\x00\x00\x01", b"\x88\xa8\x00\x01\x81\x00\x00\x02", b"\x91\x00\x00\x01"]
    families = [b"\x86\xdd", b"\x88\x63", b"\x88\x64", b"\x88\x8e", b"\x88\xcc", b"\x00\x26"]
    frames = [frame(one, two, packet, family=tag) for tag in tags]
    frames += [frame(one, two, b"<family>" * 20, family=family) for family in families]
    assert await received(one, two, *frames) == set()
