# SPDX-License-Identifier: Apache-2.0
"""The guest's list of changes and its archives are a stranger's words."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable

import pytest

from hypercell.agent.fake import archive as fake
from hypercell.base.errors import Internal, InvalidArgument
from hypercell.cloud.contract import Change
from hypercell.node import changes
from tests.support.house import House, T

GOOD = b"C/etc\0A/etc/new\nline\0D/etc/\xff\0.\0"


async def parsed(data: bytes, piece: int) -> list[Change]:
    async def content() -> AsyncGenerator[bytes, None]:
        for at in range(0, len(data), piece):
            yield data[at : at + piece]

    return [change async for several in changes._parsed(content()) for change in several]


@pytest.mark.parametrize("piece", [1, 2, 7, 1000])
async def test_a_list_is_read_however_it_is_cut(piece: int) -> None:
    found = await parsed(GOOD, piece)
    assert [(change.kind.value, change.path) for change in found] == [
        ("C", b"/etc"),
        ("A", b"/etc/new\nline"),
        ("D", b"/etc/\xff"),
    ]


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"C/etc\0", b"C/etc\0.", b".\0.\0", b".\0A/x\0", b"X/etc\0.\0", b"Cetc\0.\0", b"C\0.\0", b"\0.\0"),
        *(b"A/" + b"x" * 9000 + b"\0.\0", b"A/" + b"x" * 100_000, b".more\0", b"C/etc\0.\0left"),
    ],
)
@pytest.mark.parametrize("piece", [1, 1000])
async def test_what_is_no_list_or_not_all_of_one_is_an_error(data: bytes, piece: int) -> None:
    with pytest.raises(Internal):
        await parsed(data, piece)


async def test_why_a_list_cannot_be_told_is_passed_on_in_printable_words() -> None:
    with pytest.raises(InvalidArgument, match=r"more than 1024 levels deep\?\[31m\?"):
        await parsed(b"A/x\0!/x is more than 1024 levels deep\x1b[31m\xff\0"[:-2] + b"\x07\0", 5)


@pytest.mark.parametrize(
    "left",
    [lambda data: b"", lambda data: data + b"!", lambda data: data[:512]],
    ids=["nothing at all", "broken off", "a member"],
)
async def test_an_archive_that_broke_off_is_not_taken_for_a_whole_one(
    home: House, monkeypatch: pytest.MonkeyPatch, left: Callable[[bytes], bytes]
) -> None:
    ident = await home.run("sleep", "infinity")
    send = fake._send
    monkeypatch.setattr(fake, "_send", lambda guest, members, data: send(guest, members, left(data)))

    async def read(content: AsyncIterator[bytes]) -> None:
        async for _ in content:
            pass

    with pytest.raises(Internal, match="broke off"):
        await read(await home.containers.export(T, ident))
    with pytest.raises(Internal, match="broke off"):
        await read((await home.containers.archive_get(T, ident, "/etc"))[1])
