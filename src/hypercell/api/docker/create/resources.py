# SPDX-License-Identifier: Apache-2.0
"""Memory, CPU, processes and ulimits, of a create request and of an update."""

from __future__ import annotations

from dataclasses import dataclass

from hypercell.api.docker.documents import Fields
from hypercell.base.errors import InvalidArgument
from hypercell.base.quantities import bytes_in
from hypercell.cloud.contract import MIN_DISK, Ulimit
from hypercell.cloud.cpusets import check_memory_nodes, parse_set

_MINIMUM_MEMORY = 6 * 1024 * 1024
_DEFAULT_PERIOD = 100_000
_ULIMITS = frozenset(
    [
        "as",
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ]
)


@dataclass(frozen=True, slots=True)
class Resources:
    memory: int
    memory_reservation: int
    nano_cpus: int
    """What quota and period come to, too."""
    cpu_period: int
    cpu_quota: int
    """Microseconds; 0: none was asked for, negative: no limit."""
    cpu_shares: int
    cpuset_cpus: str
    cpuset_mems: str
    pids_limit: int
    warnings: tuple[str, ...]


def parse_resources(fields: Fields, update: bool = False) -> Resources:
    """*update*: of a container that has a limit of memory already.

    Raises `InvalidArgument` in dockerd's words where it has some.
    """
    memory = fields.number("Memory", low=0)
    if 0 < memory < _MINIMUM_MEMORY:
        raise InvalidArgument(
            "Minimum memory limit allowed is 6MB", f"these are {memory} bytes; --memory 512m is 512 MiB"
        )
    warnings = _check_swap(fields, memory, update)
    reservation = fields.number("MemoryReservation", low=0)
    shares = fields.number("CpuShares")
    if shares < 0:
        raise InvalidArgument(f"invalid CPU shares ({shares}): value must be a positive integer")
    pids = fields.number("PidsLimit")
    fields.take("KernelMemory")  # dockerd ignores it too, since API 1.42
    nano, period, quota = _cpu_time(fields)
    cpus, nodes = fields.text("CpusetCpus"), fields.text("CpusetMems")
    parse_set(cpus, "cpuset cpus")
    check_memory_nodes(nodes)
    return Resources(memory, reservation, nano, period, quota, shares, cpus, nodes, max(pids, 0), tuple(warnings))


def _check_swap(fields: Fields, memory: int, update: bool) -> list[str]:
    swap = fields.number("MemorySwap", low=-1)
    if swap > 0 and memory == 0 and not update:
        raise InvalidArgument("You should always set the Memory limit when using Memoryswap limit, see usage")
    if 0 < swap < memory:
        raise InvalidArgument("Minimum memoryswap limit should be larger than memory limit, see usage")
    warnings = []
    if swap > memory:
        warnings.append("A VM has no swap: memory is limited without swap.")
    swappiness = fields.optional_number("MemorySwappiness", low=-1, high=100)
    if swappiness not in (None, -1):
        warnings.append("A VM has no swap: memory swappiness was ignored.")
    return warnings


def _cpu_time(fields: Fields) -> tuple[int, int, int]:
    """Billionths of a CPU, period and quota."""
    nano = fields.number("NanoCpus", low=0)
    period = fields.number("CpuPeriod", low=0)
    quota = fields.number("CpuQuota")
    if nano and (period or quota):
        other = "CPU Period" if period else "CPU Quota"
        raise InvalidArgument(f"Conflicting options: Nano CPUs and {other} cannot both be set.")
    if period and not 1000 <= period <= 1_000_000:
        raise InvalidArgument("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < quota < 1000:
        raise InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    return nano_cpus(quota, period) or nano, period, quota


def nano_cpus(quota: int, period: int) -> int:
    """What a *quota* comes to, 0 for none; without *period*, of the kernel's."""
    return max(quota, 0) * 1_000_000_000 // (period or _DEFAULT_PERIOD)


def parse_disk_size(fields: Fields) -> int:
    """`StorageOpt`: the bytes of `size`, 0 without."""
    options = fields.text_mapping("StorageOpt")
    text = options.pop("size", None)
    if options:
        raise InvalidArgument(f"unknown option {next(iter(options))[:100]}", "of storage options there is: size")
    if text is None:
        return 0
    try:
        size = bytes_in(text)
    except ValueError as error:
        raise InvalidArgument(f"{fields.name('StorageOpt')}: {error}", "such as 2G") from None
    if size < MIN_DISK:
        raise InvalidArgument(f"{fields.name('StorageOpt')}: size must be at least {MIN_DISK >> 20}M")
    return size


def parse_ulimits(fields: Fields) -> tuple[Ulimit, ...]:
    limits = []
    for item in fields.objects("Ulimits"):
        name = item.text("Name", limit=32).lower()
        if name not in _ULIMITS:
            raise InvalidArgument(f"{item.name('Name')}: invalid ulimit type: {name}")
        limit = Ulimit(name, item.number("Soft", low=-1), item.number("Hard", low=-1))
        item.finish()
        soft, hard = (limit.soft, limit.hard)
        if hard != -1 and (soft == -1 or soft > hard):
            raise InvalidArgument(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
        limits.append(limit)
    return tuple(limits)
