# SPDX-License-Identifier: Apache-2.0
"""How much of a machine the server of a VM's directories takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypercell.vm.sharing import most_files


@pytest.mark.parametrize(
    ("a_process", "all_", "most"),
    [(1 << 20, 1 << 40, 1 << 19), (100_000, 1 << 40, 100_000), (1 << 20, 400_000, 100_000)],
)
def test_a_guest_may_know_many_files_but_not_all_that_its_host_can_have_open(
    tmp_path: Path, a_process: int, all_: int, most: int
) -> None:
    (tmp_path / "nr_open").write_text(f"{a_process}\n")
    (tmp_path / "file-max").write_text(f"{all_}\n")
    assert most_files(tmp_path) == most
