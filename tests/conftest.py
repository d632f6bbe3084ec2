# SPDX-License-Identifier: Apache-2.0
"""Every test process lives in a network namespace of its own from its first line on."""

from __future__ import annotations

from tests.support.namespaces import enter_private_network

enter_private_network()
