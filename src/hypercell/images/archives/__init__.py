# SPDX-License-Identifier: Apache-2.0
"""Images in tar archives: docker's and OCI's, in and out, and plain root file systems."""
