# SPDX-License-Identifier: Apache-2.0
"""The same requests at a reference dockerd and at hypercell: status, shape and meaning must be the same.

`scenarios/` says what is asked, `recorded/` what dockerd answered (`python -m tests.contract.record` asks it anew),
`differences.py` which answers may differ, and why.
"""
