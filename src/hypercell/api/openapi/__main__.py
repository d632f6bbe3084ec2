# SPDX-License-Identifier: Apache-2.0
"""`python -m hypercell.api.openapi`: the document on standard output (`make openapi`)."""

import json
import sys

from hypercell.api.native import ROUTES
from hypercell.api.openapi import document

sys.stdout.write(json.dumps(document(ROUTES), indent=2) + "\n")
