# SPDX-License-Identifier: Apache-2.0
"""Every test process lives in a network namespace of its own from its first line on."""

from __future__ import annotations

import signal

from tests.support.namespaces import enter_private_network

enter_private_network()
# A shell that starts us in the background has these ignored, or nohup, and all that tests start inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
