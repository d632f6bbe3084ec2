# SPDX-License-Identifier: Apache-2.0
"""Which registry an address means."""

from __future__ import annotations

from urllib.parse import urlsplit

from hypercell.base.errors import InvalidArgument
from hypercell.images import reference


def domain_of(address: str) -> str:
    """The registry that *address* means: a domain, or a URL as docker's older clients write it. Raises
    `InvalidArgument`."""
    wrong = InvalidArgument(f"unable to parse server address: {address[:200]!r}", "name a registry: host[:port]")
    if not address:
        return reference.DEFAULT_DOMAIN
    try:
        domain = urlsplit(address if "://" in address else f"https://{address}").netloc
    except ValueError:
        raise wrong from None
    if not reference.is_domain(domain):
        raise wrong
    return reference.DEFAULT_DOMAIN if domain == f"index.{reference.DEFAULT_DOMAIN}" else domain
