# SPDX-License-Identifier: Apache-2.0
"""The rule set of one bridge, as text for nft(8). Pure functions: golden-tested, and nothing of a user's gets in.

Two tables, both named after the bridge, so that several daemons share a machine:

* `bridge`: what a container may send. Its own MAC with its own address in IP and ARP; all else is dropped.
* `ip`: published ports (maps, so that a port is one element), NAT, and what containers may reach.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from hypercell.node.network import PublishedPort

TAP_PREFIX = "hc"


def tap_prefix(bridge: str) -> str:
    """What the names of the taps on *bridge* begin with: rules of one daemon must not touch taps of another."""
    return TAP_PREFIX + hashlib.sha256(bridge.encode()).hexdigest()[:3]


def tap_name(bridge: str, port_id: str) -> str:
    """15 characters (IFNAMSIZ allows no more), the same for a port's whole life."""
    return tap_prefix(bridge) + port_id[:10]


def spare_name(bridge: str) -> str:
    """Of a tap that is no port's yet. No port's tap is called so, as a port's id has no dash; and were it put onto the
    bridge, all that it sends would be dropped."""
    return f"{tap_prefix(bridge)}-{secrets.token_hex(5)[:9]}"


def is_spare(bridge: str, name: str) -> bool:
    return re.fullmatch(f"{tap_prefix(bridge)}-[0-9a-f]{{9}}", name) is not None


@dataclass(frozen=True, slots=True)
class Member:
    """One port on the bridge as the rules see it."""

    port_id: str
    mac: str
    address: str
    """Without prefix length."""
    published: tuple[PublishedPort, ...] = ()


def table(bridge: str) -> str:
    return f"hypercell_{bridge}".replace("-", "_").replace(".", "_")


def rule_set(bridge: str, subnet: str, gateway: str, members: Iterable[Member]) -> str:
    """Replace both tables whole, in one transaction. Established connections live on in conntrack."""
    name = table(bridge)
    members = list(members)
    elements = "\n".join(f"add {element}" for member in members for element in _all_elements(bridge, member))
    return f"""
table bridge {name}
delete table bridge {name}
table bridge {name} {{
  set allowed {{ typeof iifname . ether saddr . ip saddr; }}
  chain from_containers {{
    type filter hook prerouting priority -300;
    iifname != "{tap_prefix(bridge)}*" accept
    udp sport 67 drop
    ether type arp iifname . arp saddr ether . arp saddr ip @allowed accept
    ether type ip iifname . ether saddr . ip saddr @allowed accept
    drop
  }}
}}
table ip {name}
delete table ip {name}
table ip {name} {{
  map tcp_any {{ type inet_service : ipv4_addr . inet_service; }}
  map tcp_at {{ type ipv4_addr . inet_service : ipv4_addr . inet_service; }}
  map udp_any {{ type inet_service : ipv4_addr . inet_service; }}
  map udp_at {{ type ipv4_addr . inet_service : ipv4_addr . inet_service; }}
  chain publish {{
    dnat ip to ip daddr . tcp dport map @tcp_at
    dnat ip to tcp dport map @tcp_any
    dnat ip to ip daddr . udp dport map @udp_at
    dnat ip to udp dport map @udp_any
  }}
  chain from_outside {{
    type nat hook prerouting priority dstnat;
    fib daddr type local jump publish
  }}
  chain from_host {{
    type nat hook output priority -100;
    fib daddr type local jump publish
  }}
  chain leaving {{
    type nat hook postrouting priority srcnat;
    ip saddr {subnet} oifname != "{bridge}" masquerade
    oifname "{bridge}" ip saddr 127.0.0.0/8 masquerade
    oifname "{bridge}" ip saddr {subnet} ct status dnat masquerade
  }}
  chain through {{
    type filter hook forward priority filter;
    iifname "{bridge}" oifname "{bridge}" accept
    oifname "{bridge}" ct state established,related accept
    oifname "{bridge}" ct status dnat accept
    oifname "{bridge}" drop
    iifname "{bridge}" ip daddr 169.254.0.0/16 drop
  }}
  chain to_host {{
    type filter hook input priority filter;
    iifname != "{bridge}" accept
    ct state established,related accept
    ip daddr {gateway} udp dport 53 accept
    ip daddr {gateway} tcp dport 53 accept
    ip daddr {gateway} icmp type echo-request accept
    drop
  }}
}}
{elements}
"""


def admit(bridge: str, member: Member) -> str:
    """Let a port send."""
    return f"add {_allowed(bridge, member)}"


def publish(bridge: str, member: Member) -> str:
    return "\n".join(f"add {_published(bridge, member, port)}" for port in member.published)


def unpublish(bridge: str, member: Member) -> str:
    return "\n".join(f"delete {_published(bridge, member, port)}" for port in member.published)


def expel(bridge: str, member: Member) -> str:
    """Take out all of a port that is there. An element can only be deleted if it exists (and one that cannot fails
    the whole transaction), so each is added first, which changes nothing where it is."""
    elements = _all_elements(bridge, member)
    return "\n".join(f"{verb} {element}" for element in elements for verb in ("add", "delete"))


def drop_tables(bridge: str) -> str:
    name = table(bridge)
    return "\n".join(f"table {family} {name}\ndelete table {family} {name}" for family in ("bridge", "ip"))


def _all_elements(bridge: str, member: Member) -> Iterable[str]:
    yield _allowed(bridge, member)
    for port in member.published:
        yield _published(bridge, member, port)


def _allowed(bridge: str, member: Member) -> str:
    key = f'"{tap_name(bridge, member.port_id)}" . {member.mac} . {member.address}'
    return f"element bridge {table(bridge)} allowed {{ {key} }}"


def _published(bridge: str, member: Member, port: PublishedPort) -> str:
    anywhere = port.host_ip == "0.0.0.0"  # noqa: S104 -- compared, not bound
    kind = f"{port.protocol}_{'any' if anywhere else 'at'}"
    key = f"{port.host_port}" if anywhere else f"{port.host_ip} . {port.host_port}"
    value = f" : {member.address} . {port.container_port}"
    return f"element ip {table(bridge)} {kind} {{ {key}{value} }}"
