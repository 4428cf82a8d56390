# SPDX-License-Identifier: Apache-2.0
"""The print fmt language: text to expression tree to one generated function for a whole column of events."""
