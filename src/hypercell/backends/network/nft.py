# SPDX-License-Identifier: Apache-2.0
"""nftables through libnftables, in this process: a rule change is one transaction and starts no program.

Source: libnftables(3). The only module of the room that uses ctypes.
"""

from __future__ import annotations

import asyncio
import ctypes
from concurrent.futures import ThreadPoolExecutor

from hypercell.base.errors import Internal


class Nft:
    """One libnftables context in one thread; commands of several tasks queue up and never mix."""

    def __init__(self) -> None:
        try:
            library = ctypes.CDLL("libnftables.so.1", use_errno=True)
        except OSError as error:
            raise Internal("libnftables is missing", "install the package nftables") from error
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        library.nft_ctx_free.argtypes = [ctypes.c_void_p]
        library.nft_ctx_buffer_output.argtypes = [ctypes.c_void_p]
        library.nft_ctx_buffer_error.argtypes = [ctypes.c_void_p]
        library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
            getattr(library, name).restype = ctypes.c_char_p
        self._library = library
        self._context = library.nft_ctx_new(0)
        if not self._context:
            raise Internal("libnftables gave no context", "is the kernel built with nf_tables?")
        library.nft_ctx_buffer_output(self._context)
        library.nft_ctx_buffer_error(self._context)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="nft")

    async def run(self, commands: str) -> str:
        """Apply *commands* (nft(8) syntax) as one transaction; returns what a `list` printed. Raises `Internal`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, commands)

    def _run(self, commands: str) -> str:
        status = self._library.nft_run_cmd_from_buffer(self._context, commands.encode())
        output: bytes = self._library.nft_ctx_get_output_buffer(self._context) or b""
        if status != 0:
            error: bytes = self._library.nft_ctx_get_error_buffer(self._context) or b""
            raise Internal(f"nftables refused a change: {error.decode(errors='replace').strip()[:500]}")
        return output.decode(errors="replace")

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._library.nft_ctx_free, self._context)
        self._thread.shutdown()
