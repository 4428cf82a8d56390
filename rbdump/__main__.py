# SPDX-License-Identifier: Apache-2.0
"""`python -m rbdump` is the `rbdump` command."""

from __future__ import annotations

from rbdump.cli import main

if __name__ == "__main__":
    main()
