# SPDX-License-Identifier: Apache-2.0
"""A strict, streaming reader of tar archives. What two readers could understand differently is refused."""
