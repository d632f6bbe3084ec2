# SPDX-License-Identifier: Apache-2.0
"""What is made of the cloud's parts, for whichever door asks: builds."""
