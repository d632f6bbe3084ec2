# SPDX-License-Identifier: Apache-2.0
"""Texts that Python takes for numbers and nobody else does."""

from __future__ import annotations

LOOK_LIKE_NUMBERS = [
    "\N{ARABIC-INDIC DIGIT ONE}",
    "\N{FULLWIDTH DIGIT NINE}",
    "\N{SUPERSCRIPT TWO}",
    "\N{CIRCLED DIGIT ONE}",
    "\N{MATHEMATICAL BOLD DIGIT ONE}",
    "8\N{DEVANAGARI DIGIT ZERO}",
    "1_0",
    " 1",
    "1\n",
    "+1",
    "0x1",
]
