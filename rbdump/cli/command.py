# SPDX-License-Identifier: Apache-2.0
"""What all commands share: help with the options under the headings that they name, and files that are kept apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand

from rbdump.cli.reporting import check_findings_file
from rbdump.errors import UsageError

__all__ = ["Command"]

READ = ("region", "what", "vmlinux", "modules", "tracefs", "kallsyms", "best_of")
"""Parameters of the commands that name what is read."""
_FILES = ("region", "what", "vmlinux", "tracefs", "kallsyms")
"""Those that are files, of which one may be standard input."""


def _given(ctx: Any, names: Sequence[str]) -> list[str]:
    """The values of these parameters, each of which may be repeated or left out."""
    values = (ctx.params.get(name) or () for name in names)
    return [path for one in values for path in ([one] if isinstance(one, str) else one)]


class Command(TyperCommand):
    """A command whose help has a heading for each group of options; typer knows such groups in its rich help only."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the arguments; of an option that stands there twice the last would count, and the others be lost."""
        _, _, given = self.make_parser(ctx).parse_args(list(args))
        for parameter in given:
            once = parameter.param_type_name == "option" and not (
                parameter.multiple or getattr(parameter, "is_flag", False)
            )
            if once and given.count(parameter) > 1:
                raise UsageError(f"{parameter.opts[0]} is given more than once")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command, unless its findings would overwrite what it reads or cannot be written.

        UsageError as well where standard input is to be read twice.
        """
        filters = "what" in ctx.params and not ctx.params["what"]  # `resolve` without any argument
        if _given(ctx, _FILES).count("-") + filters > 1:
            raise UsageError("standard input can be read once only; give a file for all inputs but one")
        findings = ctx.params.get("findings")
        if findings is not None:
            check_findings_file(findings, _given(ctx, READ))
        return super().invoke(ctx)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words of the usage line; what is required stands without braces, as in the manual pages."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options in the order of the groups' first members."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            name, words = record
            if parameter.param_type_name == "argument":
                heading, name = "Arguments", name.split(" <")[0]
            else:
                heading = getattr(parameter, "rich_help_panel", None) or "Other options"
            groups.setdefault(heading, []).append((name, words))
        for heading, rows in groups.items():
            with formatter.section(heading):
                formatter.write_dl(rows)
