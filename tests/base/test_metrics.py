# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from pathlib import Path

from hypercell.base import process
from hypercell.base.metrics import Counter, Gauge, Histogram, exposition


def lines(*metrics: Counter | Gauge | Histogram) -> list[str]:
    return exposition(metrics).decode().splitlines()


def test_a_counter_without_labels_is_there_before_it_counts() -> None:
    counter = Counter("a_total", "What it counts.")
    assert lines(counter) == ["# HELP a_total What it counts.", "# TYPE a_total counter", "a_total 0"]
    counter.count()
    counter.count(by=2)
    assert lines(counter)[-1] == "a_total 3"


def test_labels_are_quoted_whatever_they_hold() -> None:
    gauge = Gauge("a", 'back\\slash\nand "quote"', ("x", "y")).set(1.5, 'say "hi"\n', "c:\\")
    assert lines(gauge) == [
        '# HELP a back\\\\slash\\nand "quote"',
        "# TYPE a gauge",
        'a{x="say \\"hi\\"\\n",y="c:\\\\"} 1.5',
    ]


def test_a_histogram_is_cumulative_and_its_bounds_belong_to_their_bucket() -> None:
    histogram = Histogram("h", "x", (0.1, 1), ("way",))
    for value in (0.05, 0.1, 0.5, 7):
        histogram.observe(value, "cold")
    assert lines(histogram)[2:] == [
        'h_bucket{way="cold",le="0.1"} 2',
        'h_bucket{way="cold",le="1"} 3',
        'h_bucket{way="cold",le="+Inf"} 4',
        'h_sum{way="cold"} 7.65',
        'h_count{way="cold"} 4',
    ]


def test_infinity_and_great_numbers_are_written_as_prometheus_reads_them() -> None:
    gauge = Gauge("g", "x", ("n",)).set(-math.inf, "a").set(1 << 40, "b").set(1e-7, "c")
    assert lines(gauge)[2:] == ['g{n="a"} -Inf', 'g{n="b"} 1099511627776', 'g{n="c"} 1e-07']


def test_a_process_tells_what_it_costs() -> None:
    found = {metric.name: metric.values[()] for metric in process.metrics() if isinstance(metric, Counter | Gauge)}
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    assert abs(found["process_resident_memory_bytes"] - resident) < 64 << 20
    assert 3 <= found["process_open_fds"] <= found["process_max_fds"]
    assert found["process_threads"] >= 1 and found["process_cpu_seconds_total"] > 0
    assert 0 < found["process_start_time_seconds"] < 4e9
