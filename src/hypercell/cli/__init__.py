# SPDX-License-Identifier: Apache-2.0
"""The `hypercell` command. It speaks only to the API's socket, so it works against any Engine API server."""
