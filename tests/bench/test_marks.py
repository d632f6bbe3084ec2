# SPDX-License-Identifier: Apache-2.0
"""What the benchmark says about its figures: marks, spreads, and the page."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from bench.marks import DOCKERD, MARKS, POOL, TEMPLATE, judge
from bench.options import FULL, QUICK, parse
from bench.pacing import alternate, at_once
from bench.parts import PARTS
from bench.report import TABLES, markdown
from bench.spread import spread

NAMES = dict.fromkeys(PARTS, "")


def starts(**medians: float) -> dict[str, Any]:
    def figures(median: float) -> dict[str, Any]:
        return {"total": {"min": median, "median": median, "p99": median * 1.5, "samples": 9}, "ways": {}, "steps": {}}

    return {"starts": {name: figures(median) for name, median in medians.items()}}


def test_marks_are_met_missed_or_not_measured() -> None:
    told = judge(starts(**{POOL: 30, TEMPLATE: 151, DOCKERD: 200}))
    words = {mark["text"]: mark["met"] for mark in told}
    assert words["create + start + wait of `true`, pool, own kernel: median"] is True
    assert words["the same, template"] is False
    assert words["median / dockerd's, pool"] is True
    assert words["`exec` of `true` over the API: median"] is None
    assert len(words) == len(MARKS), "every mark has words of its own"


def test_a_mark_measured_on_less_than_was_promised_says_so() -> None:
    told = judge({"many": {TEMPLATE: {"containers": 40, "silent": 0, "daemon_rss": 50.0}}})
    judged = [mark for mark in told if mark["value"] is not None]
    assert {mark["scope"] for mark in judged} == {"40 VMs, not 300"}
    told = judge({"many": {TEMPLATE: {"containers": 300, "silent": 0, "daemon_rss": 50.0}}})
    assert {mark["scope"] for mark in told} == {""}


def test_the_page_begins_with_the_marks_and_warns_of_a_busy_machine() -> None:
    parts = starts(**{POOL: 30, DOCKERD: 200})
    result = {
        "machine": {
            "time": "now",
            "cores": 2,
            "cpu": "some",
            "memory_mib": 1,
            "kernel": "6",
            "versions": {"runc": "1"},
        },
        "load": {"before": 0.5, "after": 0.7, "parts": {"starts": (3.5, 0.7)}},
        "left_out": {"gVisor": "it is not installed"},
        "failed": {},
        "parts": parts,
        "marks": judge(parts),
    }
    page = markdown(result)
    assert page.index("## Marks") < page.index("## starts")
    assert "busy (load 3.5)" in page
    assert "gVisor was left out: it is not installed" in page
    assert "| 1 | create + start + wait of `true`, pool, own kernel: median | 30 | ≤ 40 ms | met |" in page


def test_every_part_has_a_table() -> None:
    assert set(TABLES) == set(PARTS)


def test_single_parts_and_numbers_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(NAMES, [])[:2] == (list(PARTS), QUICK)
    assert parse(NAMES, ["--full"])[1] == FULL
    chosen, options, _ = parse(NAMES, ["--only", "exec,starts", "--rounds", "3", "--burst", "10,20"])
    assert (chosen, options.rounds, options.burst) == (["exec", "starts"], 3, (10, 20))
    with pytest.raises(SystemExit):
        parse(NAMES, ["--only", "nothing"])
    assert "no part is called nothing" in capsys.readouterr().err


def test_p99_is_the_nearest_rank() -> None:
    assert spread(range(1, 201)) == {"min": 1, "median": 100.5, "p99": 198, "samples": 200}
    assert spread([3.0, 1.0])["p99"] == 3.0


class Peer:
    def __init__(self, name: str) -> None:
        self.name, self.asked = name, 0

    def prepare(self) -> None:
        self.asked += 1


def test_peers_take_turns_and_the_first_round_warms_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.pacing.settle", lambda: None)
    order: list[str] = []

    def sample(peer: Peer) -> int:
        order.append(peer.name)
        return len(order)

    taken = alternate([Peer("a"), Peer("b")], 2, sample)
    assert order == ["a", "b"] * 3
    assert taken == {"a": [3, 5], "b": [4, 6]}


def test_those_at_once_set_out_together_and_tell_of_failures() -> None:
    barrier = threading.Barrier(5)
    at_once(5, lambda number: barrier.wait(10))
    done: list[int] = []
    at_once(5, done.append, limit=2)
    assert sorted(done) == [0, 1, 2, 3, 4]
    with pytest.raises(ZeroDivisionError):
        at_once(3, lambda number: 1 // 0)
