# SPDX-License-Identifier: Apache-2.0
"""Names of containers: made up, reserved, and looked up within a tenant."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from hypercell.base.errors import Conflict, InvalidArgument, NotFound
from hypercell.base.ids import is_id

_ADJECTIVES = """
able agile amber ample apt bold brave breezy bright brisk calm candid careful cheerful clear clever cosy crisp curious
daring dazzling deft eager earnest easy elegant epic fair famous fearless festive fine fond frank fresh friendly
gentle glad golden graceful grand happy hardy hearty honest hopeful humble jolly jovial keen kind lively loyal lucid
lucky magical mellow merry mighty modest neat nifty nimble noble patient peaceful placid plucky polite proud quick
quiet radiant ready robust serene sharp shiny silent sleek smart snappy sober spry steady stoic sturdy sunny swift
tender thrifty tidy tranquil trusty upbeat vibrant vivid warm watchful wise witty zealous zen zesty
"""
_PEOPLE = """
abel agnesi allen ampere archimedes babbage banach bartik bell bernoulli bohr boole borg boyd brahmagupta brattain
brouwer bunsen cantor carson cartan cauchy cerf chandrasekhar church clarke conway copernicus cori cray curie dahl
darwin davinci diffie dijkstra dirac easley einstein elion engelbart erdos euclid euler faraday fermat fermi feynman
floyd franklin galileo galois gates gauss germain goedel goldberg goodall hamilton hamming hawking heisenberg hellman
hermann hertz hilbert hodgkin hoover hopper hypatia iverson jackson jang jemison jennings johnson joliot kalam kapitsa
kare keller kepler khayyam khorana kilby kirch knuth kovalevskaya lagrange lalande lamport lehmann leavitt lederberg
liskov lovelace lumiere mahavira margulis maxwell mayer mccarthy mcclintock mclean meitner mendel mendeleev milner
mirzakhani moore morse moser napier nash neumann newton nightingale nobel noether northcutt noyce panini pare pascal
pasteur payne perlman pike planck poincare poitras proskuriakova ptolemy raman ramanujan ride ritchie roentgen rubin
saha sammet shannon shockley sinoussi snyder spence stallman stonebraker swanson swartz tesla tharp thompson torvalds
turing varahamihira villani wescoff wilbur wiles williams wilson wing wozniak wright yalow yonath zhukovsky
"""


class Names:
    """Which name means which container. One name, one container in a tenant."""

    def __init__(self) -> None:
        self._by_name: dict[tuple[str, str], str] = {}
        """(tenant, name) -> id; empty id: reserved for a container that is being created."""
        self._ids: dict[str, set[str]] = {}

    def add(self, tenant: str, name: str, container_id: str) -> None:
        self._by_name[tenant, name] = container_id
        self._ids.setdefault(tenant, set()).add(container_id)

    def remove(self, tenant: str, name: str, container_id: str) -> None:
        if self._by_name.get((tenant, name)) == container_id:
            del self._by_name[tenant, name]
        self._ids.get(tenant, set()).discard(container_id)

    @contextmanager
    def reserve(self, tenant: str, name: str) -> Iterator[str]:
        """Hold *name*, or a made-up one, until `add` was called for it or the block ends. Raises `Conflict`."""
        name = name or self._made_up(tenant)
        owner = self._by_name.get((tenant, name))
        if owner is not None:
            shown = f'container "{owner}"' if owner else "a container that is being created"
            words = f'Conflict. The container name "/{name}" is already in use by {shown}'
            raise Conflict(words, "You have to remove (or rename) that container to be able to reuse that name.")
        self._by_name[tenant, name] = ""
        try:
            yield name
        finally:
            if self._by_name.get((tenant, name)) == "":
                del self._by_name[tenant, name]

    def find(self, tenant: str, ref: str) -> str:
        """The id that *ref* means: a full id, a name, or a unique prefix of an id; in this order, as docker."""
        ids = self._ids.get(tenant, set())
        if ref in ids:
            return ref
        named = self._by_name.get((tenant, ref.removeprefix("/")))
        if named:
            return named
        if ref and not is_id(ref):
            found = [ident for ident in ids if ident.startswith(ref)]
            if len(found) == 1:
                return found[0]
            if found:
                raise InvalidArgument(f"Multiple IDs found with provided prefix: {ref}", "give more of the id")
        shown = "".join(char if char.isprintable() else "?" for char in ref[:128])
        raise NotFound(f"No such container: {shown}")

    def ids(self, tenant: str) -> set[str]:
        return self._ids.get(tenant, set())

    def _made_up(self, tenant: str) -> str:
        for _ in range(20):
            name = f"{secrets.choice(_ADJECTIVES.split())}_{secrets.choice(_PEOPLE.split())}"
            if (tenant, name) not in self._by_name:
                return name
        return f"{name}_{secrets.token_hex(4)}"
