# SPDX-License-Identifier: Apache-2.0
"""The user's terminal joined to a container's: raw mode, window size, detach keys, signals passed on."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator

import click

from hypercell.cli.output import raw

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def detach_sequence(text: str) -> bytes:
    """docker's `ctrl-p,ctrl-q` notation as bytes; empty turns detaching off. Raises a usage error."""
    keys = bytearray()
    for key in filter(None, text.split(",")):
        if key.startswith("ctrl-") and len(key) == 6 and ("a" <= key[5] <= "z" or key[5] in "@[\\]^_"):
            keys.append(ord(key[5].upper()) & 0x1F)
        elif len(key) == 1:
            keys.append(ord(key))
        else:
            raise click.UsageError(f"invalid detach keys {text!r}: write them as ctrl-p,ctrl-q")
    return bytes(keys)


def console_size() -> tuple[int, int]:
    """(rows, columns) of the terminal itself: $LINES and $COLUMNS may be those of another one, or old."""
    for descriptor in (0, 1, 2):
        with contextlib.suppress(OSError):
            found = os.get_terminal_size(descriptor)
            return found.lines, found.columns
    return 24, 80


@contextlib.contextmanager
def raw_mode(active: bool) -> Iterator[None]:
    if not active:
        yield
        return
    saved = termios.tcgetattr(0)
    tty.setraw(0, termios.TCSANOW)  # what was typed ahead is kept
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, saved)


@contextlib.contextmanager
def resizing(active: bool, resize: Callable[[int, int], None]) -> Iterator[None]:
    """Tell the container about the window's size now and whenever it changes."""
    if not active:
        yield
        return
    before = signal.signal(signal.SIGWINCH, lambda *_: resize(*console_size()))
    resize(*console_size())
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


@contextlib.contextmanager
def forwarding(active: bool, send: Callable[[str], None]) -> Iterator[None]:
    """Pass the signals that we get on to the container (docker's --sig-proxy)."""
    if not active:
        yield
        return
    before = {
        number: signal.signal(number, lambda received, _: send(signal.Signals(received).name)) for number in _FORWARDED
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Session:
    """Bytes both ways over a hijacked connection, until the container closes it or the user detaches."""

    def __init__(self, connection: socket.socket, early: bytes, multiplexed: bool, detach_keys: bytes) -> None:
        self._socket = connection
        self._buffer = early
        self._multiplexed = multiplexed
        self._keys = detach_keys
        self.detached = False

    def run(self, stdin: bool, is_tty: bool) -> None:
        if stdin:
            threading.Thread(target=self._pump_input, args=(is_tty,), daemon=True).start()
        try:
            if self._multiplexed:
                self._copy_frames()
            else:
                self._copy_raw()
        except (OSError, ValueError):
            if not self.detached:
                raise
        finally:
            with contextlib.suppress(OSError):
                self._socket.close()

    def _pump_input(self, is_tty: bool) -> None:
        held = b""
        with contextlib.suppress(OSError):
            while data := os.read(0, 65536):
                if is_tty and self._keys:
                    held, data = self._without_keys(held, data)
                    if self.detached:
                        self._socket.shutdown(socket.SHUT_RDWR)
                        return
                if data:
                    self._socket.sendall(data)
            self._socket.shutdown(socket.SHUT_WR)

    def _without_keys(self, held: bytes, data: bytes) -> tuple[bytes, bytes]:
        """(bytes that may be the begin of the sequence, bytes to send); sets `detached` when it is complete."""
        out = bytearray()
        for byte in data:
            held += bytes([byte])
            while held and not self._keys.startswith(held):
                out.append(held[0])
                held = held[1:]
            if held == self._keys:
                self.detached = True
                break
        return held, bytes(out)

    def _read(self, count: int) -> bytes:
        while len(self._buffer) < count:
            if not (chunk := self._socket.recv(65536)):
                return b""
            self._buffer += chunk
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def _copy_frames(self) -> None:
        while header := self._read(8):
            stream, length = struct.unpack(">BxxxI", header)
            while length:
                piece = self._read(min(length, 65536))
                if not piece:
                    return
                raw(stream, piece)
                length -= len(piece)

    def _copy_raw(self) -> None:
        data = self._buffer or self._socket.recv(65536)
        while data:
            raw(1, data)
            data = self._socket.recv(65536)


def stdin_is_tty() -> bool:
    return sys.stdin.isatty()
