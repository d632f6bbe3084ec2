# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercell.agent import frames
from hypercell.agent.frames import FROM_GUEST, FROM_HOST, HEADER, SYNC, FrameParser, ProtocolError

U32 = st.integers(1, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
GUEST_FRAMES = st.one_of(
    st.tuples(st.just(frames.DATA), st.sampled_from([0, frames.EOF]), U32, U64, st.binary(max_size=300)),
    st.tuples(st.just(frames.WINDOW), st.just(0), U32, U64, st.binary(min_size=8, max_size=8)),
    st.tuples(st.sampled_from([frames.REPLY]), st.just(0), U32, st.just(0), st.binary(max_size=300)),
    st.tuples(st.just(frames.EVENT), st.just(0), st.just(0), st.just(0), st.binary(max_size=300)),
)


def encoded(frame: frames.Frame) -> bytes:
    kind, flags, ident, offset, payload = frame
    return frames.encode(kind, ident, payload, flags, offset)


def chunked(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


@given(st.lists(GUEST_FRAMES, max_size=20), st.lists(st.integers(0, 10**6), max_size=30))
def test_frames_are_the_same_however_the_bytes_are_chunked(sent: list[frames.Frame], cuts: list[int]) -> None:
    parser = FrameParser(FROM_GUEST)
    received = [frame for chunk in chunked(b"".join(map(encoded, sent)), cuts) for frame in parser.feed(chunk)]
    assert received == sent
    assert parser.held == 0


@pytest.mark.parametrize("size", [0, 1, 65535, 65536])
def test_a_frame_that_comes_byte_by_byte_is_read(size: int) -> None:
    parser = FrameParser(FROM_GUEST)
    data = frames.encode(frames.DATA, 7, bytes(size), frames.EOF, 5)
    found = [frame for position in range(len(data)) for frame in parser.feed(data[position : position + 1])]
    assert found == [(frames.DATA, frames.EOF, 7, 5, bytes(size))]


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_arbitrary_bytes_raise_nothing_but_the_typed_error(chunks: list[bytes]) -> None:
    parser = FrameParser(FROM_GUEST)
    try:
        for chunk in chunks:
            parser.feed(chunk)
    except ProtocolError as error:
        assert str(error)


@given(st.lists(st.binary(max_size=400), max_size=20), st.lists(st.integers(0, 10**6), max_size=10))
def test_a_recovering_parser_finds_the_next_greeting_after_any_bytes(garbage: list[bytes], cuts: list[int]) -> None:
    parser = FrameParser(FROM_HOST, recover=True)
    for chunk in garbage:
        parser.feed(chunk)
    hello = frames.encode(frames.HELLO, 0, b"{}")
    tail = bytes(frames.FLUSH) + SYNC + hello
    found = [frame for chunk in chunked(tail, cuts) for frame in parser.feed(chunk)]
    assert found[-2:] == [(frames.GREETING, 0, 0, 0, b""), (frames.HELLO, 0, 0, 0, b"{}")]
    assert parser.held == 0


def test_a_greeting_between_frames_is_taken_as_one() -> None:
    parser = FrameParser(FROM_GUEST)
    data = frames.encode(frames.REPLY, 1, b"{}") + SYNC + frames.encode(frames.WELCOME, 0, b"{}")
    assert [frame[0] for frame in parser.feed(data)] == [frames.REPLY, frames.GREETING, frames.WELCOME]


@given(st.binary(max_size=64), st.integers(0, 63))
def test_a_parser_that_recovers_holds_little_of_what_it_skips(noise: bytes, seed: int) -> None:
    parser = FrameParser(FROM_HOST, recover=True)
    parser.feed(bytes([255] * 20))
    for _ in range(50):
        parser.feed(noise + bytes([seed]))
        assert parser.held < len(SYNC) or parser.feed(b"") == []
    assert parser.held <= frames.MAX_PAYLOAD + HEADER.size


BROKEN = {
    "a type of 0": HEADER.pack(0, 0, 0, 0, 1, 0),
    "an unknown type": HEADER.pack(0, 9, 0, 0, 1, 0),
    "a type that only the host sends": HEADER.pack(0, frames.REQUEST, 0, 0, 1, 0),
    "something in the zero field": HEADER.pack(0, frames.DATA, 0, 1, 1, 0),
    "one byte more than the limit": HEADER.pack(frames.MAX_PAYLOAD + 1, frames.REPLY, 0, 0, 1, 0),
    "one byte more than the limit of DATA": HEADER.pack(frames.MAX_DATA + 1, frames.DATA, 0, 0, 1, 0),
    "a length that looks negative": HEADER.pack(2**32 - 1, frames.REPLY, 0, 0, 1, 0),
    "an unknown flag": HEADER.pack(0, frames.DATA, 2, 0, 1, 0),
    "a flag where there is none": HEADER.pack(0, frames.REPLY, 1, 0, 1, 0),
    "a stream id of 0": HEADER.pack(0, frames.DATA, 0, 0, 0, 0),
    "a request id of 0": HEADER.pack(0, frames.REPLY, 0, 0, 0, 0),
    "an id in an event": HEADER.pack(0, frames.EVENT, 0, 0, 1, 0),
    "an offset in a reply": HEADER.pack(0, frames.REPLY, 0, 0, 1, 1),
    "a WINDOW of 7 bytes": HEADER.pack(7, frames.WINDOW, 0, 0, 1, 0),
    "a WINDOW of 9 bytes": HEADER.pack(9, frames.WINDOW, 0, 0, 1, 0),
}


@pytest.mark.parametrize("header", BROKEN.values(), ids=BROKEN.keys())
def test_a_header_that_breaks_a_rule_is_refused_before_its_payload_comes(header: bytes) -> None:
    with pytest.raises(ProtocolError):
        FrameParser(FROM_GUEST).feed(header)


@pytest.mark.parametrize("kind", [frames.REPLY, frames.EVENT])
def test_a_frame_of_the_largest_size_is_read(kind: int) -> None:
    data = frames.encode(kind, int(kind == frames.REPLY), b"x" * frames.MAX_PAYLOAD)
    parser = FrameParser(FROM_GUEST)
    assert parser.feed(data[:-1]) == []
    assert parser.held == len(data) - 1
    [frame] = parser.feed(data[-1:])
    assert len(frame[4]) == frames.MAX_PAYLOAD
    assert parser.held == 0


def test_a_reset_parser_waits_for_a_whole_frame() -> None:
    parser = FrameParser(FROM_GUEST)
    parser.feed(HEADER.pack(100, frames.REPLY, 0, 0, 1, 0))
    parser.reset()
    assert parser.feed(frames.encode(frames.EVENT, 0, b"{}")) == [(frames.EVENT, 0, 0, 0, b"{}")]
