# SPDX-License-Identifier: Apache-2.0
"""The backends: each is one implementation of an interface that a lower room or the cloud defines."""
