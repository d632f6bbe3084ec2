# SPDX-License-Identifier: Apache-2.0
"""The rule set of one daemon, as text for nft(8). Pure functions: golden-tested, and nothing of a user's gets in.

Two tables, both named after the daemon's bridge, so that several daemons share a machine:

* `bridge`: what a container may send. Its own MAC with its own address in IP and ARP, each on the link of the network
  that they belong to; all else is dropped.
* `ip`: published ports (maps, so that a port is one element), NAT, and what containers may reach. The rules are the
  same however many networks there are: a network is some elements of their sets.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from hypercell.node.network import PublishedPort

TAP_PREFIX = "hc"
BRIDGE_PREFIX = "hb"


def _digest(bridge: str) -> str:
    """What the names of this daemon's links have in common: rules of one must not touch links of another."""
    return hashlib.sha256(bridge.encode()).hexdigest()[:3]


def tap_prefix(bridge: str) -> str:
    """What the names of the taps of the daemon whose own bridge is *bridge* begin with."""
    return TAP_PREFIX + _digest(bridge)


def tap_name(bridge: str, port_id: str) -> str:
    """15 characters (IFNAMSIZ allows no more), the same for a port's whole life."""
    return tap_prefix(bridge) + port_id[:10]


def spare_name(bridge: str) -> str:
    """Of a tap that is no port's yet. No port's tap is called so, as a port's id has no dash; and were it put onto a
    bridge, all that it sends would be dropped."""
    return f"{tap_prefix(bridge)}-{secrets.token_hex(5)[:9]}"


def is_spare(bridge: str, name: str) -> bool:
    return re.fullmatch(f"{tap_prefix(bridge)}-[0-9a-f]{{9}}", name) is not None


def bridge_name(bridge: str, network: str) -> str:
    """Of a network of somebody's own, by its id."""
    return BRIDGE_PREFIX + _digest(bridge) + network[:10]


def is_bridge_name(bridge: str, name: str) -> bool:
    return re.fullmatch(f"{BRIDGE_PREFIX}{_digest(bridge)}[0-9a-f]{{10}}", name) is not None


@dataclass(frozen=True, slots=True)
class Segment:
    """One network as the rules see it."""

    bridge: str
    subnet: str
    gateway: str
    internal: bool = False
    masquerade: bool = True


@dataclass(frozen=True, slots=True)
class Claim:
    """Whom a port may claim to be on one of its links."""

    link: str
    mac: str
    address: str
    """Without prefix length."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A port that is on a network other than that of its home: what may pass from bridge to bridge."""

    home: str
    """The bridge that its tap is on."""
    bridge: str
    """The other network's."""
    address: str
    """Its own there."""


@dataclass(frozen=True, slots=True)
class Member:
    """One port as the rules see it."""

    claims: tuple[Claim, ...]
    visits: tuple[Visit, ...] = ()
    published: tuple[PublishedPort, ...] = ()
    target: str = ""
    """The address that published ports lead to."""


def table(bridge: str) -> str:
    return f"hypercell_{bridge}".replace("-", "_").replace(".", "_")


def rule_set(bridge: str, resolver: str, segments: Iterable[Segment], members: Iterable[Member]) -> str:
    """Replace both tables whole, in one transaction. Established connections live on in conntrack. *resolver*: the
    address that containers of all networks that lead out ask for names at.

    What passes from bridge to bridge must be published or a visitor's: that it is established says nothing, as with
    br_netfilter a frame that never left its bridge can have made it so.
    """
    name = table(bridge)
    found = [element for segment in segments for element in _segment(bridge, segment)]
    found += [element for member in members for element in _all_elements(bridge, member)]
    elements = "\n".join(f"add {element}" for element in found)
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
  set bridges {{ type ifname; }}
  set inside {{ type ifname . ifname; }}
  set visits {{ type ifname . ifname . ipv4_addr; }}
  set closed {{ type ifname; }}
  set gateways {{ type ifname . ipv4_addr; }}
  set subnets {{ type ipv4_addr; flags interval; }}
  set masqueraded {{ type ipv4_addr; flags interval; }}
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
    ip saddr @masqueraded oifname != @bridges masquerade
    oifname @bridges ip saddr 127.0.0.0/8 masquerade
    oifname @bridges ip saddr @subnets ct status dnat masquerade
  }}
  chain through {{
    type filter hook forward priority filter;
    iifname . oifname @inside accept
    iifname . oifname . ip saddr @visits accept
    oifname . iifname . ip daddr @visits accept
    iifname @closed drop
    oifname @closed drop
    iifname @bridges oifname @bridges ct status dnat accept
    iifname @bridges oifname @bridges drop
    oifname @bridges ct state established,related accept
    oifname @bridges ct status dnat accept
    oifname @bridges drop
    iifname @bridges ip daddr 169.254.0.0/16 drop
  }}
  chain to_host {{
    type filter hook input priority filter;
    iifname != @bridges accept
    ct state established,related accept
    iifname . ip daddr @gateways udp dport 53 accept
    iifname . ip daddr @gateways tcp dport 53 accept
    iifname . ip daddr @gateways icmp type echo-request accept
    iifname @closed drop
    ip daddr {resolver} udp dport 53 accept
    ip daddr {resolver} tcp dport 53 accept
    drop
  }}
}}
{elements}
"""


def admit_segment(bridge: str, segment: Segment) -> str:
    """A network more."""
    return "\n".join(f"add {element}" for element in _segment(bridge, segment))


def expel_segment(bridge: str, segment: Segment) -> str:
    return _expel(_segment(bridge, segment))


def admit(bridge: str, member: Member) -> str:
    """Let a port send."""
    return "\n".join(f"add {element}" for element in _presence(bridge, member))


def change(bridge: str, before: Member, after: Member) -> str:
    """What a port may do and publishes is from now on another."""
    old, new = list(_all_elements(bridge, before)), list(_all_elements(bridge, after))
    gone, come = [each for each in old if each not in new], [each for each in new if each not in old]
    return "\n".join(filter(None, [_expel(gone), *(f"add {element}" for element in come)]))


def publish(bridge: str, member: Member) -> str:
    return "\n".join(f"add {_published(bridge, member, port)}" for port in member.published)


def unpublish(bridge: str, member: Member) -> str:
    return "\n".join(f"delete {_published(bridge, member, port)}" for port in member.published)


def expel(bridge: str, member: Member) -> str:
    """Take out all of a port that is there."""
    return _expel(_all_elements(bridge, member))


def _expel(elements: Iterable[str]) -> str:
    """An element can only be deleted if it exists (and one that cannot fails the whole transaction), so each is added
    first, which changes nothing where it is."""
    return "\n".join(f"{verb} {element}" for element in elements for verb in ("add", "delete"))


def drop_tables(bridge: str) -> str:
    name = table(bridge)
    return "\n".join(f"table {family} {name}\ndelete table {family} {name}" for family in ("bridge", "ip"))


def _segment(bridge: str, segment: Segment) -> Iterable[str]:
    own, name = f'"{segment.bridge}"', table(bridge)
    yield f"element ip {name} bridges {{ {own} }}"
    yield f"element ip {name} inside {{ {own} . {own} }}"
    yield f"element ip {name} gateways {{ {own} . {segment.gateway} }}"
    yield f"element ip {name} subnets {{ {segment.subnet} }}"
    if segment.internal:
        yield f"element ip {name} closed {{ {own} }}"
    elif segment.masquerade:
        yield f"element ip {name} masqueraded {{ {segment.subnet} }}"


def _all_elements(bridge: str, member: Member) -> Iterable[str]:
    yield from _presence(bridge, member)
    for port in member.published:
        yield _published(bridge, member, port)


def _presence(bridge: str, member: Member) -> Iterable[str]:
    name = table(bridge)
    for claim in member.claims:
        yield f'element bridge {name} allowed {{ "{claim.link}" . {claim.mac} . {claim.address} }}'
    for visit in member.visits:
        yield f'element ip {name} visits {{ "{visit.home}" . "{visit.bridge}" . {visit.address} }}'


def _published(bridge: str, member: Member, port: PublishedPort) -> str:
    anywhere = port.host_ip == "0.0.0.0"  # noqa: S104 -- compared, not bound
    kind = f"{port.protocol}_{'any' if anywhere else 'at'}"
    key = f"{port.host_port}" if anywhere else f"{port.host_ip} . {port.host_port}"
    value = f" : {member.target} . {port.container_port}"
    return f"element ip {table(bridge)} {kind} {{ {key}{value} }}"
