# SPDX-License-Identifier: Apache-2.0
"""What the slim QEMU remembers of an address is of one address space, and holds until the guest says otherwise
(docs/adr/0014-quicker-emulation.md)."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypercell.vm.program import SLIM
from tests.support.compiled import in_base64
from tests.support.real_house import real_house
from tests.support.vm import settings_for

pytestmark = [pytest.mark.vm, pytest.mark.root]
SCRIPT = 'echo "$0" | base64 -d >/tmp/program && chmod +x /tmp/program && exec /tmp/program'


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    return in_base64(Path(__file__).with_name("address_spaces.c"), tmp_path_factory.mktemp("program"))


@pytest.mark.parametrize("size", ["s1", "m2"])
async def test_each_process_runs_what_lies_in_its_own_address_space(tmp_path: Path, program: str, size: str) -> None:
    settings_for("forked", tmp_path)
    async with real_house(tmp_path, qemu=str(SLIM), accelerator="tcg") as home:
        for _ in range(2):  # of a boot of its own, and of a template when that is there
            ident = await home.run("sh", "-c", SCRIPT, program, size=size)
            assert (await home.wait(ident), await home.output(ident)) == (0, b"each its own\n")
