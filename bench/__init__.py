# SPDX-License-Identifier: Apache-2.0
"""Benchmarks that anyone can run: `make bench`. Peers alternate in one run, because machines are noisy."""
