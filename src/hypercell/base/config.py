# SPDX-License-Identifier: Apache-2.0
"""The daemon's settings: one TOML file, every key optional, unknown keys refused.

Paths derive from `root` (survives a reboot) and `run` (does not). Several daemons can live on one machine if each has
its own `root`, `run`, `bridge` and `subnet`, as the tests do.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TypeVar

from hypercell.base.errors import InvalidArgument

DEFAULT_FILE = Path("/etc/hypercell/hypercell.toml")
T = TypeVar("T")
_SOURCE_TREE = Path(__file__).resolve().parents[3]


def built(name: str) -> Path:
    """Where `make` puts *name*: below build/ of a source tree, /usr/lib/hypercell where there is none."""
    return (_SOURCE_TREE / "build" if (_SOURCE_TREE / "guest").is_dir() else Path("/usr/lib/hypercell")) / name


def _default_pool_memory() -> int:
    """A sixteenth of the machine's memory, a GiB at most: VMs for a burst that a person or a CI makes."""
    return min(1024, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 16 // 1024**2)


@dataclass(frozen=True, slots=True)
class Registry:
    """How to speak to one registry host (`host[:port]` as it stands in image names)."""

    host: str
    plain_http: bool = False
    mirrors: tuple[str, ...] = ()
    """Tried in order before the host itself; each is `[http://]host[:port]`."""


@dataclass(frozen=True, slots=True)
class Config:
    root: Path = Path("/var/lib/hypercell")
    """State that survives a reboot: database, images, containers' disks and logs."""
    run: Path = Path("/run/hypercell")
    """Sockets and VM records; empty after a reboot."""
    group: str = "root"
    """The group that may use the socket (mode 0660)."""
    guest_dir: Path = field(default_factory=lambda: built("guest"))
    """Agent, kernels and initramfs, as `make guest` lays them out."""
    kernel: str = "auto"
    """`auto` (own if built, else distribution), `own`, `distribution`, or a directory with `vmlinux` and `initrd`."""
    driver: str = "qemu"
    """The hypervisor driver: `qemu`, or `fake` (tests only)."""
    accelerator: str = "auto"
    """`auto` (probed), `kvm` or `tcg`."""
    qemu: str = "auto"
    """QEMU's program: `auto` (the slim one if built and reachable, else the distribution's), a name, or a path."""
    uid_base: int = 2_000_000
    """Hypervisors run as uid_base, uid_base + 1, …; one VM, one uid."""
    uid_count: int = 65_536
    """How many uids there are to give out: no more VMs than that run at once."""
    subnet: str = "172.16.0.0/16"
    """The containers' private IPv4 network; its first address is the machine's."""
    bridge: str = "hypercell0"
    """Name of the bridge, also in the names of its taps and nftables tables."""
    dns: tuple[str, ...] = ()
    """Upstream name servers; empty: those of the machine's /etc/resolv.conf."""
    registries: tuple[Registry, ...] = ()
    """Registries that need something other than TLS to their own name."""
    boot_timeout: float = 60.0
    """Seconds from spawning a hypervisor to the agent's greeting."""
    rootfs_size: int = 10 * 1024**3
    """Bytes a container may write into its root file system."""
    volume_size: int = 10 * 1024**3
    """Bytes that a volume holds which does not say how many, and the most that one may ask for."""
    binds: bool = True
    """Whether whoever has the local socket may have directories of this machine in containers."""
    log_size: int = 50 * 1024**2
    """Bytes of log kept of a container that does not say how many."""
    log_most: int = 10 * 1024**3
    """Bytes of log that a container may ask to have kept, all its files together."""
    reserve_bytes: int = 256 * 1024**2
    """Free bytes that must remain on `root`; below it, new containers and pulls are refused."""
    reserve_memory: int = 256 * 1024**2
    """Bytes of memory that must remain available on the machine; a start that would take of them waits."""
    launches_at_once: int = 0
    """VMs that boot, or are cloned, at the same time; 0: as many as suit the machine's CPUs."""
    launch_wait: float = 120.0
    """Seconds that a start waits for its turn before it is refused."""
    launch_queue: int = 4096
    """Starts that may wait for their turn; more are refused."""
    isolation: str = "shared"
    """What containers get that do not ask: `shared` (VMs are clones, and share the pages that none of them changes) or
    `cold` (every VM boots by itself, and shares no page but those of the hypervisor's program)."""
    forks: bool = True
    """Whether hypervisors may be forked of each other, where they can be (the slim QEMU, without KVM). They start
    sooner, and lie at the same addresses, which helps whoever has broken out of one to break into another."""
    pool_memory: int = field(default_factory=_default_pool_memory)
    """MiB of memory for VMs that wait for containers; pages that they share are not counted. 0: none wait."""
    pool_fill: int = 0
    """How many VMs of the default size wait whatever the demand is, as far as `pool_memory` goes."""

    @property
    def socket(self) -> Path:
        return self.run / "hypercell.sock"

    @property
    def database(self) -> Path:
        return self.root / "hypercell.db"

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def containers(self) -> Path:
        return self.root / "containers"

    @property
    def volumes(self) -> Path:
        return self.root / "volumes"

    @property
    def vms(self) -> Path:
        return self.run / "vms"

    def registry(self, host: str) -> Registry:
        return next((entry for entry in self.registries if entry.host == host), Registry(host))


def load(path: Path | None = None) -> Config:
    """Settings from *path*, `$HYPERCELL_CONFIG` or /etc/hypercell/hypercell.toml (the last may be missing).

    Raises `InvalidArgument` for a file that is missing or wrong, naming the key.
    """
    chosen = path or (Path(os.environ["HYPERCELL_CONFIG"]) if "HYPERCELL_CONFIG" in os.environ else None)
    if chosen is None and not DEFAULT_FILE.exists():
        return Config()
    file = chosen or DEFAULT_FILE
    try:
        values = tomllib.loads(file.read_text())
    except OSError as error:
        raise InvalidArgument(f"cannot read {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{file} is not TOML: {error}") from error
    return from_mapping(values, str(file))


_CHOICES = {
    "driver": ("qemu", "fake"),
    "accelerator": ("auto", "kvm", "tcg"),
    "isolation": ("shared", "cold"),
}
_LEAST: dict[str, float] = {
    "uid_base": 1,
    "uid_count": 1,
    "boot_timeout": 0.1,
    "rootfs_size": 1024**2,
    "volume_size": 1024**2,
    "log_size": 1,
    "log_most": 1,
    "launch_wait": 0.01,
}
"""Of numbers; all others may be 0."""


def from_mapping(values: dict[str, object], source: str) -> Config:
    known = {item.name: item for item in fields(Config)}
    chosen: dict[str, object] = {}
    defaults = Config()
    for key, value in values.items():
        if key not in known:
            raise InvalidArgument(f"{source}: unknown setting {key!r}", f"known are {', '.join(known)}")
        chosen[key] = _convert(key, value, getattr(defaults, key), source)
        _check(key, chosen[key], source)
    return replace(defaults, **chosen)  # type: ignore[arg-type]


def _convert(key: str, value: object, default: object, source: str) -> object:
    if key == "registries":
        return tuple(_registry(entry, source) for entry in _expect(key, value, list, source))
    if isinstance(default, Path):
        return Path(_expect(key, value, str, source))
    if isinstance(default, tuple):
        return tuple(_expect(key, entry, str, source) for entry in _expect(key, value, list, source))
    if isinstance(default, float) and type(value) is int:
        return float(value)
    return _expect(key, value, type(default), source)


def _check(key: str, value: object, source: str) -> None:
    if key in _CHOICES and value not in _CHOICES[key]:
        raise InvalidArgument(f"{source}: {key} is {value!r}", f"it may be {' or '.join(map(repr, _CHOICES[key]))}")
    if isinstance(value, int | float) and not isinstance(value, bool) and not value >= _LEAST.get(key, 0):
        raise InvalidArgument(f"{source}: {key} is {value}", f"it must be {_LEAST.get(key, 0):g} at least")
    if key == "dns" and isinstance(value, tuple):
        for server in value:
            try:
                ipaddress.ip_address(server)
            except ValueError:
                raise InvalidArgument(f"{source}: dns has {server!r}", "it is a list of IP addresses") from None


def _registry(entry: object, source: str) -> Registry:
    table = dict(_expect("registries", entry, dict, source))
    if unknown := table.keys() - {item.name for item in fields(Registry)}:
        known = ", ".join(item.name for item in fields(Registry))
        raise InvalidArgument(f"{source}: unknown setting registries.{min(unknown)}", f"known are {known}")
    host = _expect("registries.host", table.pop("host", None), str, source)
    plain = _expect("registries.plain_http", table.pop("plain_http", False), bool, source)
    mirrors = _expect("registries.mirrors", table.pop("mirrors", []), list, source)
    return Registry(host, plain, tuple(_expect("registries.mirrors", m, str, source) for m in mirrors))


def _expect(key: str, value: object, kind: type[T], source: str) -> T:
    if type(value) is not kind:
        raise InvalidArgument(f"{source}: {key} must be a {kind.__name__}, not {value!r}")
    return value
