# SPDX-License-Identifier: Apache-2.0
"""Which kernel boots, and with which words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hypercell.base.config import Config
from hypercell.base.errors import InvalidArgument, NotFound
from hypercell.vm.accel import Accelerator
from hypercell.vm.kernels import find_kernel
from hypercell.vm.tsc import tsc_khz

TCG = Accelerator("tcg", "")
KVM = Accelerator("kvm", "")


def place(directory: Path, release: str = "6.1.0-test\n") -> Path:
    directory.mkdir(parents=True)
    (directory / "vmlinux").write_bytes(b"\x7fELF rest")
    (directory / "initrd").write_bytes(b"070701")
    (directory / "release").write_text(release)
    return directory


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(guest_dir=tmp_path)


def test_ours_is_taken_when_it_is_there(config: Config, tmp_path: Path) -> None:
    place(tmp_path / "distribution")
    assert find_kernel(config, TCG).name == "distribution"
    place(tmp_path / "own")
    own = find_kernel(config, TCG)
    assert (own.name, own.acpi, own.release) == ("own", False, "6.1.0-test")
    distribution = find_kernel(replace(config, kernel="distribution"), TCG)
    assert (distribution.name, distribution.acpi) == ("distribution", True)
    assert own.overhead_mib < distribution.overhead_mib


@pytest.mark.parametrize(
    ("choice", "hint"), [("auto", "make guest"), ("distribution", "make guest"), ("own", "make kernel")]
)
def test_what_is_not_built_says_how_to_build_it(config: Config, choice: str, hint: str) -> None:
    with pytest.raises(NotFound) as caught:
        find_kernel(replace(config, kernel=choice), TCG)
    assert hint in caught.value.hint


def test_an_emulated_guest_is_told_what_it_cannot_measure(config: Config, tmp_path: Path) -> None:
    place(tmp_path / "own")
    emulated = find_kernel(config, TCG).command_line.split()
    assert f"tsc_early_khz={tsc_khz()}" in emulated
    assert "lapic_timer_khz=1000000" in emulated
    real = find_kernel(config, KVM).command_line
    assert "tsc" not in real
    assert "lapic" not in real
    for words in (emulated, real.split()):
        assert {"console=hvc0", "panic=-1", "reboot=t", "rdinit=/init"} <= set(words)


def test_a_users_kernel_brings_its_own_words(config: Config, tmp_path: Path) -> None:
    directory = place(tmp_path / "mine")
    (directory / "cmdline").write_text("debug\nfoo=bar\n")
    kernel = find_kernel(replace(config, kernel=str(directory)), TCG)
    assert (kernel.name, kernel.acpi) == ("mine", False)
    assert kernel.command_line.endswith("debug foo=bar")
    (directory / "acpi").touch()
    assert find_kernel(replace(config, kernel=str(directory)), TCG).acpi


def test_a_vm_with_one_cpu_boots_the_kernel_built_for_one_where_there_is_one(config: Config, tmp_path: Path) -> None:
    directory = place(tmp_path / "own")
    assert find_kernel(config, TCG).image(1) == directory / "vmlinux"
    (directory / "vmlinux-up").write_bytes(b"\x7fELF rest")
    kernel = find_kernel(config, TCG)
    assert [kernel.image(vcpus).name for vcpus in (1, 2)] == ["vmlinux-up", "vmlinux"]
    (directory / "vmlinux-up").write_bytes(b"MZ")
    with pytest.raises(InvalidArgument):
        find_kernel(config, TCG)


def test_a_directory_without_a_kernel_is_refused(config: Config, tmp_path: Path) -> None:
    for wrong in (str(tmp_path / "none"), "relative/path", "Own"):
        with pytest.raises(InvalidArgument):
            find_kernel(replace(config, kernel=wrong), TCG)
    bad = place(tmp_path / "bad")
    (bad / "vmlinux").write_bytes(b"MZ bzImage")
    with pytest.raises(InvalidArgument, match="no ELF"):
        find_kernel(replace(config, kernel=str(bad)), TCG)


@pytest.mark.parametrize("release", ["", "x y", "\x1b[31m", "a" * 200, "../up"])
def test_a_release_that_is_no_name_is_not_shown(config: Config, tmp_path: Path, release: str) -> None:
    place(tmp_path / "own", release)
    assert find_kernel(config, TCG).release == "unknown"


def test_the_counters_rate_is_plausible() -> None:
    khz = tsc_khz()
    assert khz is None or 500_000 < khz < 10_000_000
