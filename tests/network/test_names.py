# SPDX-License-Identifier: Apache-2.0
"""What containers are answered about each other's names. dnspython, which the daemon does without, reads it."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.reversename
import pytest

from hypercell.backends.network.answers import answer
from hypercell.backends.network.names import Entry, Names

WEB, DB, ALONE, CLOSED = "172.18.0.2", "172.18.0.3", "172.19.0.2", "172.20.0.2"


@pytest.fixture
def names() -> Names:
    known = Names()
    known.set("1", [Entry("front", "shop", WEB, ("web", "abcdef123456", "Host-1", "www"))])
    known.set("2", [Entry("front", "shop", DB, ("db", "www"))])
    known.set("3", [Entry("back", "other", ALONE, ("alone", "secret"))])
    known.set("4", [Entry("inner", "inner", CLOSED, ("closed",), internal=True)])
    return known


def ask(names: Names, asker: str, name: str, kind: str = "A") -> dns.message.Message | None:
    query = dns.message.make_query(name, kind)
    found = answer(names, asker, query.to_wire())
    if found is None:
        return None
    read = dns.message.from_wire(found)
    assert query.is_response(read)
    return read


def addresses(names: Names, asker: str, name: str) -> list[str]:
    found = ask(names, asker, name)
    return [str(item) for rrset in found.answer for item in rrset] if found else []


@pytest.mark.parametrize("name", ["web", "WEB", "abcdef123456", "host-1", "web.shop", "Web.Shop."])
def test_every_name_of_a_neighbour_is_its_address(names: Names, name: str) -> None:
    assert addresses(names, DB, name) == [WEB]
    assert addresses(names, WEB, name) == [WEB], "its own too"


def test_who_is_on_another_network_is_told_of_nobody(names: Names) -> None:
    for name in ("web", "www", "web.shop", "db"):
        assert ask(names, ALONE, name) is None
    assert ask(names, ALONE, str(dns.reversename.from_address(WEB)), "PTR") is None
    assert ask(names, WEB, "secret") is None


def test_who_has_no_names_in_one_place_is_told_those_of_its_others(names: Names) -> None:
    home = "172.16.0.9"
    names.set("5", [Entry("bridge", "bridge", home, ()), Entry("front", "shop", "10.0.0.9", ("visitor",))])
    names.set("6", [Entry("bridge", "bridge", "172.16.0.8", ())])
    assert addresses(names, home, "web") == [WEB]
    assert addresses(names, WEB, "visitor") == ["10.0.0.9"]
    assert ask(names, home, str(dns.reversename.from_address("172.16.0.8")), "PTR") is None
    assert ask(names, "172.16.0.8", "visitor") is None


def test_who_is_nobody_is_told_nothing(names: Names) -> None:
    assert ask(names, "172.16.0.9", "web") is None


def test_of_several_with_one_alias_each_is_first_in_its_turn(names: Names) -> None:
    answers = [addresses(names, WEB, "www") for _ in range(4)]
    assert all(set(found) == {WEB, DB} for found in answers)
    assert {found[0] for found in answers} == {WEB, DB}


def test_an_address_has_a_name(names: Names) -> None:
    found = ask(names, DB, str(dns.reversename.from_address(WEB)), "PTR")
    assert found is not None and [str(item) for rrset in found.answer for item in rrset] == ["web.shop."]
    for other in ("172.18.0.99", "9.9.9.9"):
        assert ask(names, DB, str(dns.reversename.from_address(other)), "PTR") is None
    assert ask(names, DB, str(dns.reversename.from_address("fd00::1")), "PTR") is None


@pytest.mark.parametrize("kind", ["AAAA", "MX", "TXT", "SRV", "ANY"])
def test_a_name_that_is_known_has_nothing_else(names: Names, kind: str) -> None:
    found = ask(names, DB, "web", kind)
    assert found is not None and (found.rcode(), found.answer) == (dns.rcode.NOERROR, [])
    assert found.flags & dns.flags.AA and found.flags & dns.flags.RA


def test_an_answer_is_not_kept(names: Names) -> None:
    found = ask(names, DB, "web")
    assert found is not None and found.answer[0].ttl == 0


def test_names_follow_at_once(names: Names) -> None:
    names.set("1", [Entry("front", "shop", WEB, ("ui",))])
    assert addresses(names, DB, "ui") == [WEB] and ask(names, DB, "web") is None
    assert addresses(names, DB, "www") == [DB]
    names.forget("1")
    assert ask(names, DB, "ui") is None and ask(names, WEB, "db") is None
    names.forget("1")


def test_an_address_that_has_passed_on_is_its_new_owners(names: Names) -> None:
    names.set("5", [Entry("back", "other", WEB, ("heir",))])
    names.forget("1")
    assert addresses(names, WEB, "secret") == [ALONE]


def test_a_hundred_addresses_fit_into_a_datagram(names: Names) -> None:
    for number in range(100):
        names.set(f"many{number}", [Entry("front", "shop", f"172.18.1.{number}", ("many",))])
    query = dns.message.make_query("many", "A").to_wire()
    seen = set()
    for _ in range(100):
        found = answer(names, DB, query)
        assert found is not None and len(found) <= 512
        seen |= {str(item) for rrset in dns.message.from_wire(found).answer for item in rrset}
    assert len(seen) == 100


def test_who_cannot_reach_the_world_cannot_ask_it(names: Names) -> None:
    assert addresses(names, CLOSED, "closed") == [CLOSED]
    found = ask(names, CLOSED, "world.example")
    assert found is not None and found.rcode() == dns.rcode.SERVFAIL


def test_a_query_that_is_none_is_not_answered(names: Names) -> None:
    query = dns.message.make_query("web", "A")
    query.set_opcode(dns.opcode.NOTIFY)
    assert answer(names, DB, query.to_wire()) is None
    chaos = dns.message.make_query("web", "A", rdclass="CH")
    assert answer(names, DB, chaos.to_wire()) is None
    long = dns.message.make_query(".".join(["x" * 63] * 3), "A")
    assert answer(names, DB, long.to_wire()) is None
