# SPDX-License-Identifier: Apache-2.0
"""Why a VM ended, from every kind of evidence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hypercell.vm.driver import ExitReason
from hypercell.vm.exits import LONGEST_DETAIL, Evidence, classify, no_memory

PANIC = "sysrq: Trigger a crash\nKernel panic - not syncing: sysrq triggered crash\nCPU: 0"
NOTHING = Evidence(0, None, True, "", "", False)


@pytest.mark.parametrize(
    ("evidence", "reason", "says"),
    [
        (replace(NOTHING, returncode=-9), ExitReason.KILLED, "SIGKILL"),
        (replace(NOTHING, returncode=-9, failure="not restored", log="bad"), ExitReason.FAILED, "not restored; bad"),
        (replace(NOTHING, returncode=-9, oom_killed=True), ExitReason.KILLED, "out of memory"),
        (
            replace(NOTHING, returncode=-9, oom_killed=True),
            ExitReason.KILLED,
            "it went beyond the memory that it may use, or the host ran out of memory",
        ),
        (
            replace(NOTHING, returncode=-9, oom_killed=True, own_limit=True),
            ExitReason.KILLED,
            "SIGKILL: it went beyond the memory that it may use",
        ),
        (
            replace(NOTHING, returncode=-9, oom_killed=True, own_limit=False),
            ExitReason.KILLED,
            "SIGKILL: the host ran out of memory",
        ),
        (replace(NOTHING, returncode=-11, log="Segmentation"), ExitReason.KILLED, "SIGSEGV; its last words: Segm"),
        (replace(NOTHING, returncode=-99), ExitReason.KILLED, "signal 99"),
        (replace(NOTHING, returncode=1, log="qemu: no such option\n"), ExitReason.FAILED, "no such option"),
        (replace(NOTHING, returncode=1), ExitReason.FAILED, "status 1"),
        (replace(NOTHING, returncode=1, console=PANIC), ExitReason.FAILED, "status 1"),
        (replace(NOTHING, shutdown="guest-reset", console=PANIC), ExitReason.GUEST_PANIC, "Kernel panic - not"),
        (replace(NOTHING, shutdown="guest-reset", console="bye\n"), ExitReason.GUEST_RESET, "bye"),
        (replace(NOTHING, shutdown="guest-shutdown"), ExitReason.GUEST_RESET, "reset"),
        (replace(NOTHING, shutdown="host-signal", console=PANIC), ExitReason.KILLED, "host-signal"),
        # Adopted: not our child, so the status is unknown.
        (replace(NOTHING, returncode=None, shutdown="guest-reset"), ExitReason.GUEST_RESET, "reset"),
        (replace(NOTHING, returncode=None, shutdown="guest-reset", console=PANIC), ExitReason.GUEST_PANIC, "Kernel"),
        (replace(NOTHING, returncode=None), ExitReason.KILLED, "without a word"),
        (replace(NOTHING, returncode=None, oom_killed=True), ExitReason.KILLED, "out of memory"),
        (replace(NOTHING, returncode=None, watched=False), ExitReason.UNKNOWN, "nobody was watching"),
    ],
)
def test_the_end_is_told_from_the_evidence(evidence: Evidence, reason: ExitReason, says: str) -> None:
    end = classify(evidence)
    assert end.reason is reason
    assert says in end.detail


def test_a_detail_is_bounded() -> None:
    for flood in (replace(NOTHING, console="x" * 10**6), replace(NOTHING, returncode=1, log="y" * 10**6)):
        assert len(classify(flood).detail) <= LONGEST_DETAIL
    assert len(classify(replace(NOTHING, console=PANIC + "z" * 10**6)).detail) <= LONGEST_DETAIL


def test_a_hypervisor_that_gets_no_memory_for_its_guest_is_told_from_one_that_fails() -> None:
    said = "qemu-system-x86_64: cannot set up guest memory 'ram': Cannot allocate memory"
    assert no_memory(classify(replace(NOTHING, returncode=1, log=said)))
    assert not no_memory(classify(replace(NOTHING, returncode=1, log="qemu: no such option")))
    assert not no_memory(classify(replace(NOTHING, shutdown="guest-reset", console=said)))  # a guest's word
