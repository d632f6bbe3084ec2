# SPDX-License-Identifier: Apache-2.0
"""The host's half of the greeting: finding the guest's WELCOME in whatever an older connection left behind."""

from __future__ import annotations

import secrets
from typing import Final

from hypercell.agent import frames, messages
from hypercell.agent.contract import Welcome
from hypercell.agent.frames import HEADER, SYNC, ProtocolError

VERSIONS: Final = (1,)
MAX_WELCOME: Final = 4096
"""Kept small, so that stale bytes that look like a greeting cannot swallow the real one for long."""

_Found = tuple[Welcome, int]


class Unanswerable(Exception):
    """The guest answered, and the answer cannot become better by asking again."""


class Greeting:
    """One connection's greeting. Every HELLO of it carries the same nonce, so that a late answer counts."""

    def __init__(self) -> None:
        self.nonce = secrets.token_hex(16)
        self.refusal: str | None = None
        """What the guest said instead of WELCOME."""
        self._held = bytearray()

    @property
    def hello(self) -> bytes:
        """SYNC and HELLO."""
        members = {"versions": list(VERSIONS), "nonce": self.nonce, "features": []}
        return SYNC + frames.encode(frames.HELLO, 0, messages.encode(members))

    def feed(self, data: bytes) -> tuple[Welcome, bytes] | None:
        """The WELCOME with our nonce and the bytes behind it, once they came. Raises `Unanswerable`.

        Every SYNC is a candidate, also one within the payload of another candidate: bytes of a container's output
        may imitate the beginning of a greeting, but not our nonce.
        """
        held = self._held
        held += data
        keep = -1
        position = held.find(SYNC)
        while position >= 0:
            found = self._candidate(position + len(SYNC))
            if isinstance(found, tuple):
                welcome, end = found
                rest = bytes(held[end:])
                held.clear()
                return welcome, rest
            if found and keep < 0:
                keep = position
            position = held.find(SYNC, position + len(SYNC))
        del held[: keep if keep >= 0 else max(0, len(held) - len(SYNC) + 1)]
        return None

    def _candidate(self, start: int) -> _Found | bool:
        """What follows a SYNC: our WELCOME and its end, True if more bytes are needed, False if it is not ours."""
        if len(self._held) - start < HEADER.size:
            return True
        header = HEADER.unpack_from(self._held, start)
        length, kind, ident = header[0], header[1], header[4]
        if frames.broken_rule(_ANSWERS, header) is not None or ident or length > MAX_WELCOME:
            return False
        begin, end = start + HEADER.size, start + HEADER.size + length
        if len(self._held) < end:
            return True
        payload = bytes(self._held[begin:end])
        if kind == frames.ERROR:
            # It carries no nonce, so it may be stale: final only if no WELCOME follows it soon.
            self.refusal = _refusal(payload)
            return False
        try:
            if messages.decode(payload).get("nonce") != self.nonce:
                return False
        except ProtocolError:
            return False
        try:
            welcome, _ = messages.welcome(payload)
        except ProtocolError as error:
            raise Unanswerable(str(error)) from None
        if welcome.version not in VERSIONS:
            raise Unanswerable(f"the agent chose version {welcome.version}, which was not offered")
        return welcome, end


_ANSWERS = frozenset({frames.WELCOME, frames.ERROR})


def _refusal(payload: bytes) -> str:
    try:
        return f"the agent refused the greeting: {messages.error(payload).message}"
    except ProtocolError as error:
        return str(error)
