# SPDX-License-Identifier: Apache-2.0
"""Which accelerator is chosen: by measuring, whatever the trial does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hypercell.base.errors import InvalidArgument, Unsupported
from hypercell.vm import accel
from hypercell.vm.accel import choose, device_groups, judge, run_trial


def decided(monkeypatch: pytest.MonkeyPatch, result: tuple[bool, bool, str]) -> None:
    monkeypatch.setattr(accel, "_probed", lambda: result)


@pytest.mark.parametrize(
    ("trial", "usable", "fast", "says"),
    [
        ({"loop_us": 60, "exit_us": 1.4}, True, True, "on the hardware"),
        ({"loop_us": 90, "exit_us": 40}, True, True, "on the hardware"),
        ({"loop_us": 95_000, "exit_us": 9.1}, True, False, "95 ms"),
        ({"loop_us": 60, "exit_us": 900.0}, True, False, "900 µs"),
        ({"error": "it did not end within 2 s"}, False, False, "did not end"),
        ({}, False, False, "no answer"),
        ({"loop_us": "60", "exit_us": None}, False, False, "no answer"),
    ],
)
def test_a_device_is_judged_by_its_speed(
    tmp_path: Path, trial: dict[str, object], usable: bool, fast: bool, says: str
) -> None:
    device = tmp_path / "kvm"
    device.touch()
    device.chmod(0o666)
    verdict = judge(device, lambda: trial)
    assert verdict[:2] == (usable, fast)
    assert says in verdict[2]


def test_without_a_device_nothing_is_tried(tmp_path: Path) -> None:
    def trial() -> dict[str, object]:
        raise AssertionError

    assert judge(tmp_path / "kvm", trial)[:2] == (False, False)


def test_a_device_that_only_root_may_open_is_of_no_use_to_hypervisors(tmp_path: Path) -> None:
    device = tmp_path / "kvm"
    device.touch()
    for mode in (0o600, 0o640, 0o644):
        device.chmod(mode)
        usable, fast, reason = judge(device, lambda: {"loop_us": 60, "exit_us": 1.4})
        assert (usable, fast) == (False, False)
        assert "chmod" in reason


@pytest.mark.root
def test_a_hypervisor_gets_the_devices_group_and_never_roots(tmp_path: Path) -> None:
    device = tmp_path / "kvm"
    device.touch()
    device.chmod(0o660)
    assert device_groups(device) is None
    os.chown(device, 0, 107)
    assert device_groups(device) == [107]
    device.chmod(0o666)
    assert device_groups(device) == []


def program(directory: Path, text: str) -> Path:
    path = directory / "trial.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("while True: pass", "did not end"),
        ("import os; os.kill(os.getpid(), 11)", "status -11"),
        ("raise SystemExit(3)", "status 3"),
        ("print('what?')", "no answer"),
        ("print('[1]')", "no answer"),
        ("print('x' * 10**6)", "no answer"),
    ],
)
def test_a_trial_that_hangs_crashes_or_babbles_is_survived(tmp_path: Path, text: str, error: str) -> None:
    assert error in str(run_trial(program(tmp_path, text), patience=0.5)["error"])


def test_this_machine_is_judged_and_says_why() -> None:
    chosen = choose("auto")
    assert chosen.name in ("kvm", "tcg")
    assert chosen.reason
    assert choose("auto") == chosen


def test_emulation_can_be_demanded_without_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "_probed", lambda: pytest.fail("tried"))
    assert choose("tcg").name == "tcg"


def test_a_slow_kvm_is_used_only_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    decided(monkeypatch, (True, False, "slow"))
    assert choose("auto").name == "tcg"
    assert choose("kvm").name == "kvm"


def test_a_kvm_that_is_not_there_cannot_be_demanded(monkeypatch: pytest.MonkeyPatch) -> None:
    decided(monkeypatch, (False, False, "no /dev/kvm"))
    with pytest.raises(Unsupported, match="no /dev/kvm"):
        choose("kvm")


def test_another_word_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        choose("xen")
