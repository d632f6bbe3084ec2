# SPDX-License-Identifier: Apache-2.0
from hypercell.base.crash import crash_point, set_hook

__all__ = ["crash_point", "set_hook"]
