# SPDX-License-Identifier: Apache-2.0
"""A client for registries: OCI distribution-spec and Docker registry v2."""
