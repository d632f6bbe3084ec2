# SPDX-License-Identifier: Apache-2.0
"""hypercell: a container-native cloud. Every container runs in a virtual machine of its own."""

__version__ = "0.1.0"
