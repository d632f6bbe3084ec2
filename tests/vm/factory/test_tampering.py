# SPDX-License-Identifier: Apache-2.0
"""Nobody changes a template: a hypervisor that a guest has taken over holds descriptors of it."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator

import pytest

from hypercell.vm import memfd
from hypercell.vm.saved_template import SavedTemplate

_PUNCH_HOLE, _KEEP_SIZE = 0x02, 0x01
_PAGE = mmap.PAGESIZE


@pytest.fixture
def template() -> Iterator[SavedTemplate]:
    memory, state = memfd.create("memory", 2 * _PAGE), memfd.create("state")
    os.pwrite(memory, b"kernel", 0)
    os.pwrite(state, b"devices", 0)
    made = SavedTemplate("key", memory, state)
    yield made
    made.close()


def writable(descriptor: int) -> int:
    """As who has the descriptor may open it again."""
    return os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)


def punch(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if libc.fallocate(descriptor, _PUNCH_HOLE | _KEEP_SIZE, 0, _PAGE) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


TAMPERINGS = {
    "write": lambda descriptor: os.pwrite(descriptor, b"x", 0),
    "hole": punch,
    "shrink": lambda descriptor: os.ftruncate(descriptor, 0),
    "grow": lambda descriptor: os.ftruncate(descriptor, 1 << 30),
    "shared mapping": lambda descriptor: mmap.mmap(descriptor, 4, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE),
}


@pytest.mark.parametrize("tampering", TAMPERINGS.values(), ids=TAMPERINGS)
def test_what_a_clone_is_made_of_cannot_be_changed(template: SavedTemplate, tampering: object) -> None:
    assert callable(tampering)
    for held, content in zip(template.open(), (b"kernel", b"devices"), strict=True):
        with pytest.raises(OSError) as refused:
            again = writable(held)
            try:
                tampering(again)
            finally:
                os.close(again)
        assert refused.value.errno in (1, 13), "EPERM, EACCES"
        assert os.pread(held, len(content), 0) == content
        os.close(held)


def test_what_a_clone_writes_is_its_own(template: SavedTemplate) -> None:
    memory, state = template.open()
    with mmap.mmap(memory, _PAGE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as own:
        own[:6] = b"tenant"
        assert os.pread(memory, 6, 0) == b"kernel"
    os.close(memory)
    os.close(state)
