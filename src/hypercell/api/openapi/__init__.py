# SPDX-License-Identifier: Apache-2.0
"""What is served, as an OpenAPI 3.1 document: the tables of routes, and what is said here of each route.

Whoever adds a route says in the module of its kind (`containers`, `images` …) what it takes and what it answers; tests
compare that with what the handlers read, and with what they answer.
"""

from hypercell.api.openapi.document import DESCRIPTIONS, document

__all__ = ["DESCRIPTIONS", "document"]
