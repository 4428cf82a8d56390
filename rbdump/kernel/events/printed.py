# SPDX-License-Identifier: Apache-2.0
"""Enumerators that functions of the kernel print by name, without the prefix: their values differ between kernels.

And one that tells which of two texts a function prints.
"""

from __future__ import annotations

__all__ = ["BLOCK_OPS", "PRINTED", "RESERVATION_NAMES", "ZONE_CONDITIONS"]


def _by_enumerator(prefix: str, names: str) -> dict[str, str]:
    return {prefix + name: name for name in names.split()}


BLOCK_OPS = _by_enumerator(
    "REQ_OP_",
    "READ WRITE FLUSH DISCARD SECURE_ERASE ZONE_RESET ZONE_RESET_ALL ZONE_OPEN ZONE_CLOSE ZONE_FINISH ZONE_APPEND "
    "WRITE_ZEROES DRV_IN DRV_OUT",
)
"""What blk_op_str() prints (block/blk-core.c)."""
ZONE_CONDITIONS = _by_enumerator("BLK_ZONE_COND_", "NOT_WP EMPTY IMP_OPEN EXP_OPEN CLOSED READONLY FULL OFFLINE ACTIVE")
"""What blk_zone_cond_str() prints (block/blk-zoned.c); the last since 6.19."""
RESERVATION_NAMES = "NVME_NS_VWC_NOT_PRESENT"
"""An enumerator of the NVMe drivers that came in the release, and from the author, that named what reservations do."""
PRINTED = (*BLOCK_OPS, *ZONE_CONDITIONS, RESERVATION_NAMES)
