# SPDX-License-Identifier: Apache-2.0
"""The print fmt language of event formats: parsed once, compiled to functions that render whole columns."""

from rbdump.events.printfmt.compiler import PrintFmt, compile_print_fmt, parse_ahead
from rbdump.events.printfmt.nodes import UnsupportedPrintFmt

__all__ = ["PrintFmt", "UnsupportedPrintFmt", "compile_print_fmt", "parse_ahead"]
