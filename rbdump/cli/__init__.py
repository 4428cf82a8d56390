# SPDX-License-Identifier: Apache-2.0
"""The command line: one module for each command; the only place that knows typer."""
