# SPDX-License-Identifier: Apache-2.0
"""docker's classic builder: a Dockerfile and a context become an image, each step in a guest of its own."""

from hypercell.engines.build.builder import Builder
from hypercell.engines.build.contract import BuildFailed, BuildRequest, Builds, Progress

__all__ = ["BuildFailed", "BuildRequest", "Builder", "Builds", "Progress"]
