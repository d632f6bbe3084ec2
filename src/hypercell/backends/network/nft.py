# SPDX-License-Identifier: Apache-2.0
"""nftables through libnftables, in this process: a rule change is one transaction and starts no program.

Source: libnftables(3). The only module of the room that uses ctypes.
"""

from __future__ import annotations

import asyncio
import ctypes
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

from hypercell.base.errors import Internal


class Nft:
    """One libnftables context in one thread; what several tasks want changed at once is changed in one go."""

    def __init__(self) -> None:
        try:
            library = ctypes.CDLL("libnftables.so.1", use_errno=True)
        except OSError as error:
            raise Internal("libnftables is missing", "install the package nftables") from error
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        library.nft_ctx_free.argtypes = [ctypes.c_void_p]
        library.nft_ctx_buffer_error.argtypes = [ctypes.c_void_p]
        library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        library.nft_ctx_get_error_buffer.argtypes = [ctypes.c_void_p]
        library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
        self._library = library
        self._context = library.nft_ctx_new(0)
        if not self._context:
            raise Internal("libnftables gave no context", "is the kernel built with nf_tables?")
        library.nft_ctx_buffer_error(self._context)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="nft")
        self._waiting: list[_Change] = []
        self._gate = Lock()

    async def run(self, commands: str) -> None:
        """Apply *commands* (nft(8) syntax), all of them or none. Raises `Internal`.

        What several tasks ask for while a transaction is under way is one transaction; it is only when that is refused
        that each of them is tried by itself.
        """
        change = _Change(commands)
        with self._gate:
            self._waiting.append(change)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._work)
        if change.error is not None:
            raise change.error

    def _work(self) -> None:
        with self._gate:
            changes, self._waiting = self._waiting, []
        if not changes:  # the turn of somebody else served them
            return
        try:
            self._apply("\n".join(change.commands for change in changes))
        except Internal:
            for change in changes:
                try:
                    self._apply(change.commands)
                except Internal as error:
                    change.error = error

    def _apply(self, commands: str) -> None:
        status = self._library.nft_run_cmd_from_buffer(self._context, commands.encode())
        error: bytes = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if status != 0:
            raise Internal(f"nftables refused a change: {error.decode(errors='replace').strip()[:500]}")

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._library.nft_ctx_free, self._context)
        self._thread.shutdown()


@dataclass(slots=True)
class _Change:
    commands: str
    error: Internal | None = None
