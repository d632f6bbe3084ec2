# SPDX-License-Identifier: Apache-2.0
"""Bridges and taps by ioctl: four system calls a tap, and no process or netlink library on the way of a start.

Source: netdevice(7), Linux Documentation/networking/tuntap.rst and bridge.rst.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import ipaddress
import os
import socket
import struct
from pathlib import Path

from hypercell.base.errors import Internal, NotFound

_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_SIOCSIFADDR, _SIOCSIFNETMASK = 0x8916, 0x891C
_SIOCGIFADDR = 0x8915
_SIOCGIFINDEX = 0x8933
_SIOCSIFNAME, _SIOCSIFHWADDR = 0x8923, 0x8924
_SIOCSIFMTU = 0x8922
_SIOCADDRT, _SIOCDELRT = 0x890B, 0x890C
_RTF_UP, _RTF_HOST = 0x1, 0x4
_SIOCBRADDBR, _SIOCBRDELBR, _SIOCBRADDIF, _SIOCBRDELIF = 0x89A0, 0x89A1, 0x89A2, 0x89A3
_TUNSETIFF = 0x400454CA
_IFF_UP = 0x1
_AF_BRIDGE = 7
_ARPHRD_ETHER = 1
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000

MTU = 1500
_IN_USE = "an earlier hypervisor still holds it"


def _request(name: str, payload: bytes = b"") -> bytes:
    return struct.pack("16s24s", name.encode(), payload)


def _ioctl(number: int, argument: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        return fcntl.ioctl(control, number, argument)


def _inet(address: str) -> bytes:
    """A `struct sockaddr_in` without a port."""
    return struct.pack("=HH4s8x", socket.AF_INET, 0, ipaddress.IPv4Address(address).packed)


def _mac(address: str) -> bytes:
    """The locally administered one of an IPv4 address."""
    return b"\x02\x42" + ipaddress.IPv4Address(address).packed


def exists(name: str) -> bool:
    try:
        _ioctl(_SIOCGIFINDEX, _request(name))
    except OSError:
        return False
    return True


def names() -> list[str]:
    """Of all links there are."""
    return [name for _, name in socket.if_nameindex()]


def set_up(name: str, up: bool = True) -> None:
    (flags,) = struct.unpack_from("=H", _ioctl(_SIOCGIFFLAGS, _request(name)), 16)
    wanted = flags | _IFF_UP if up else flags & ~_IFF_UP
    _ioctl(_SIOCSIFFLAGS, _request(name, struct.pack("=H", wanted)))


def ensure_bridge(name: str, gateway: str, netmask: str, mtu: int = MTU) -> None:
    """Make the bridge *name* with address *gateway*, or repair one that is there. Raises `Internal`."""
    try:
        with contextlib.suppress(FileExistsError):
            _ioctl(_SIOCBRADDBR, name.encode() + b"\0")
        # No v6 on it, before it is up: containers have v4 only, and a link-local address would be a way to the host.
        set_sysctl(f"net/ipv6/conf/{name}/disable_ipv6", "1")
        set_sysctl(f"net/ipv4/conf/{name}/route_localnet", "1")
        set_up(name)
        # An address of its own: else it has the least of its taps', another one whenever containers come and go, and
        # every neighbour that has learned the old one is cut off for a while. Set when it is up: a bridge that got one
        # before drops the first frames that it sends when its first tap has joined (seen on Linux 6.18).
        _ioctl(_SIOCSIFHWADDR, _request(name, struct.pack("=H14s", _ARPHRD_ETHER, _mac(gateway))))
        if _address(name) != gateway:
            _ioctl(_SIOCSIFADDR, _request(name, _inet(gateway)))
            _ioctl(_SIOCSIFNETMASK, _request(name, _inet(netmask)))
        _ioctl(_SIOCSIFMTU, _request(name, struct.pack("=i", mtu)))
    except OSError as error:
        raise Internal(
            f"cannot set up the bridge {name}: {error.strerror}", "hypercell needs root and the kernel's bridge module"
        ) from error


def delete_bridge(name: str) -> None:
    with contextlib.suppress(OSError):
        set_up(name, False)
        _ioctl(_SIOCBRDELBR, name.encode() + b"\0")


def _address(name: str) -> str:
    try:
        answer = _ioctl(_SIOCGIFADDR, _request(name))
    except OSError:
        return ""
    return str(ipaddress.IPv4Address(answer[20:24]))


def open_tap(name: str) -> int:
    """Make the tap *name*, down and on no bridge, and return its descriptor.

    The tap is not persistent: it ends with the last copy of the descriptor, so that nobody has to clean it up.
    Raises `Internal`; a tap of that name that is still in use is one.
    """
    descriptor = -1
    try:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        fcntl.ioctl(descriptor, _TUNSETIFF, _request(name, struct.pack("=H", _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR)))
        set_sysctl(f"net/ipv6/conf/{name}/disable_ipv6", "1")
    except OSError as error:
        if descriptor >= 0:
            os.close(descriptor)
        hint = _IN_USE if error.errno == errno.EBUSY else "is /dev/net/tun there?"
        raise Internal(f"cannot make the tap {name}: {error.strerror}", hint) from error
    return descriptor


def rename(name: str, new: str) -> None:
    """Give the link *name*, which is down, the name *new*. What it was told (no IPv6) it keeps.

    Raises `NotFound` when there is no such link, and `Internal`; that *new* is taken is one.
    """
    try:
        _ioctl(_SIOCSIFNAME, _request(name, new.encode()))
    except OSError as error:
        if error.errno == errno.ENODEV:
            raise NotFound(f"there is no link {name}") from error
        hint = _IN_USE if error.errno == errno.EEXIST else ""
        raise Internal(f"cannot rename the link {name} to {new}: {error.strerror}", hint) from error


def rejoin(name: str, bridge: str) -> None:
    """Put the tap *name* onto *bridge*, or back, as after somebody deleted the bridge that it was on. Of what is so
    already nothing is done, and nothing at all if there is no such tap. Raises `Internal`."""
    try:
        _join(name, bridge)
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise Internal(f"cannot put the tap {name} onto {bridge}: {error.strerror}") from error


def leave(name: str, bridge: str) -> None:
    """Take the tap *name* off *bridge*, if it is on it, and either is there at all. Raises `Internal`."""
    try:
        index = _index(name)
        _ioctl(_SIOCBRDELIF, _request(bridge, struct.pack("=i", index)))
    except OSError as error:
        if error.errno not in (errno.ENODEV, errno.EINVAL):
            raise Internal(f"cannot take the tap {name} off {bridge}: {error.strerror}") from error


def answer_for_others(bridge: str) -> None:
    """Say on *bridge*, at once, that the host is where addresses live that it has a way to elsewhere (proxy ARP)."""
    set_sysctl(f"net/ipv4/conf/{bridge}/proxy_arp", "1")
    set_sysctl(f"net/ipv4/neigh/{bridge}/proxy_delay", "0")


def add_route(address: str, link: str) -> None:
    """The way to *address* is *link*. Raises `Internal`."""
    try:
        _route(_SIOCADDRT, address, link)
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise Internal(f"cannot lead to {address} by {link}: {error.strerror}") from error


def delete_route(address: str, link: str) -> None:
    """One that is not there, or whose link is gone, is none to worry about. Raises `Internal`."""
    try:
        _route(_SIOCDELRT, address, link)
    except OSError as error:
        if error.errno not in (errno.ESRCH, errno.ENODEV):
            raise Internal(f"cannot end the way to {address} by {link}: {error.strerror}") from error


def _route(number: int, address: str, link: str) -> None:
    """A `struct rtentry` (linux/route.h): to one host, by a link."""
    device = ctypes.create_string_buffer(link.encode())
    destination, nowhere, one = _inet(address), _inet("0.0.0.0"), _inet("255.255.255.255")  # noqa: S104 -- no socket
    entry = struct.pack(
        "@L16s16s16sHhLPhPLLH",
        *(0, destination, nowhere, one, _RTF_UP | _RTF_HOST, 0, 0, 0, 0, ctypes.addressof(device), 0, 0, 0),
    )
    _ioctl(number, entry + bytes(120 - len(entry)))


def _index(name: str) -> int:
    (index,) = struct.unpack_from("=i", _ioctl(_SIOCGIFINDEX, _request(name)), 16)
    return int(index)


def _join(name: str, bridge: str) -> None:
    index = _index(name)
    try:
        _ioctl(_SIOCBRADDIF, _request(bridge, struct.pack("=i", index)))
    except OSError as error:
        if error.errno != errno.EBUSY:  # it is on it, and perhaps not up yet
            raise
    _allow_hairpin(index)
    set_up(name)


def _allow_hairpin(index: int) -> None:
    """Let a frame leave by the port it came from: with br_netfilter, a container that calls its own published port
    is bridged straight back. There is no ioctl for it: one rtnetlink message (RTM_SETLINK, rtnetlink(7))."""
    mode = struct.pack("=HHB3x", 5, 4, 1)  # IFLA_BRPORT_MODE
    attribute = struct.pack("=HH", 4 + len(mode), 0x8000 | 12) + mode  # IFLA_PROTINFO, nested
    body = struct.pack("=BBHiII", _AF_BRIDGE, 0, 0, index, 0, 0) + attribute
    head = struct.pack("=IHHII", 16 + len(body), 19, 1 | 4, 1, 0)  # RTM_SETLINK, NLM_F_REQUEST | NLM_F_ACK
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as control:
        control.send(head + body)
        (error,) = struct.unpack_from("=i", control.recv(4096), 16)
    if error:
        raise OSError(-error, os.strerror(-error))


def set_sysctl(path: str, value: str) -> None:
    """Write /proc/sys/*path*; one that is missing (no IPv6 in the kernel) is none to worry about."""
    with contextlib.suppress(FileNotFoundError):
        Path("/proc/sys", path).write_text(value)
