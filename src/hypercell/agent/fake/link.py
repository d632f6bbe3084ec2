# SPDX-License-Identifier: Apache-2.0
"""One connection of a fake guest: greeting, frames in and out, and the faults that a test asks for."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hypercell.agent import frames
from hypercell.agent.fake.members import GuestError

if TYPE_CHECKING:
    from hypercell.agent.fake.guest import FakeGuest


@dataclass(slots=True)
class Faults:
    """What goes wrong. Operations are named as on the wire (`container.create`). May be changed at any time."""

    mute: bool = False
    """Reads, and never greets."""
    boot_delay: float = 0.0
    """Seconds from the first connection until it reads anything."""
    delays: dict[str, float] = field(default_factory=dict)
    """Seconds before an operation is carried out."""
    silent: set[str] = field(default_factory=set)
    """Operations that are carried out and never answered."""
    errors: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Operations that answer ERROR (code, message) and do nothing."""
    replies: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Members that an operation's reply has instead of the true ones."""
    die_at: int = 0
    """The VM dies instead of carrying out its n-th request, counted from 1 over all connections (0: never)."""
    die_on: set[str] = field(default_factory=set)
    """Operations at which the VM dies."""
    drop_on: set[str] = field(default_factory=set)
    """Operations at which the connection ends, once each; the guest lives on."""
    garbage: dict[str, bytes] = field(default_factory=dict)
    """Bytes sent instead of the answer."""


class Request:
    """One REQUEST that waits for its answer; answers of an older greeting are dropped."""

    def __init__(self, link: Link, ident: int, members: dict[str, Any]) -> None:
        self.members = members
        self.op = str(members.get("op"))
        self._link = link
        self._ident = ident
        self._greeting = link.greetings

    def reply(self, members: dict[str, Any]) -> None:
        self._answer(frames.REPLY, members)

    def fail(self, code: str, message: str) -> None:
        self._answer(frames.ERROR, {"code": code, "message": message})

    def _answer(self, kind: int, members: dict[str, Any]) -> None:
        faults = self._link.guest.faults
        if self._greeting != self._link.greetings or self.op in faults.silent:
            return
        if self.op in faults.garbage:
            self._link.send(faults.garbage[self.op])
            return
        self._link.send(frames.encode(kind, self._ident, json.dumps(members).encode()))


class Link(asyncio.Protocol):
    """The guest's end of one connection."""

    def __init__(self, guest: FakeGuest) -> None:
        self.guest = guest
        self.greetings = 0
        self.lost = asyncio.get_running_loop().create_future()
        self._parser = frames.FrameParser(frames.FROM_HOST, recover=True)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self.lost.done():
            self.lost.set_result(None)
        self.guest.link_lost(self)

    def send(self, data: bytes) -> None:
        """Send, if somebody was greeted."""
        if self._transport is not None and self.greetings:
            self._transport.write(data)

    def send_raw(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def send_event(self, members: dict[str, Any]) -> None:
        self.send(frames.encode(frames.EVENT, 0, json.dumps(members).encode()))

    def close(self) -> None:
        """Hang up after what was sent."""
        if self._transport is not None:
            self._transport.close()

    def hang_up(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.guest.faults.mute:
            return
        for kind, flags, ident, offset, payload in self._parser.feed(data):
            if self._transport is None:
                return
            if kind == frames.HELLO:
                self._greet(payload)
            elif not self.greetings:
                continue
            elif kind == frames.REQUEST:
                self._request(ident, payload)
            elif kind == frames.DATA:
                self.guest.data(ident, offset, payload, bool(flags & frames.EOF))
            elif kind == frames.WINDOW:
                self.guest.window(ident, frames.acknowledged_of(payload), offset)

    def _greet(self, payload: bytes) -> None:
        try:
            hello = json.loads(payload)
            versions, nonce = hello["versions"], hello["nonce"]
        except (ValueError, KeyError, TypeError):
            return
        if 1 not in versions:
            message = {"code": "unsupported", "message": "this agent speaks version 1"}
            self.send_raw(frames.SYNC + frames.encode(frames.ERROR, 0, json.dumps(message).encode()))
            return
        self.greetings += 1
        welcome = json.dumps({"version": 1, "nonce": nonce, **self.guest.welcome()}).encode()
        self.send_raw(frames.SYNC + frames.encode(frames.WELCOME, 0, welcome))
        self.guest.greeted(self)

    def _request(self, ident: int, payload: bytes) -> None:
        try:
            members = json.loads(payload)
        except ValueError:
            members = None
        if not isinstance(members, dict):
            Request(self, ident, {}).fail("invalid", "not a JSON object")
            return
        request = Request(self, ident, members)
        delay = self.guest.faults.delays.get(request.op)
        if delay is None:
            self._carry_out(request)
        else:
            asyncio.get_running_loop().call_later(delay, self._carry_out, request)

    def _carry_out(self, request: Request) -> None:
        guest, faults, op = self.guest, self.guest.faults, request.op
        if guest.dead:
            return
        guest.requests += 1
        if guest.requests == faults.die_at or op in faults.die_on:
            guest.die("hypervisor-killed")
        elif op in faults.drop_on:
            faults.drop_on.discard(op)
            self.hang_up()
        elif op in faults.errors:
            request.fail(*faults.errors[op])
        else:
            try:
                answer = guest.carry_out(request)
            except GuestError as error:
                request.fail(error.code, str(error))
            else:
                if answer is not None:
                    request.reply({**answer, **faults.replies.get(op, {})})
