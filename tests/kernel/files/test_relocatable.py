# SPDX-License-Identifier: Apache-2.0
"""Numbers of relocations, against those that pyelftools knows by name."""

from __future__ import annotations

from elftools.elf.enums import ENUM_RELOC_TYPE_S390X

from rbdump.kernel.files.relocatable import S390_GOT, S390_PLT

# check_rela() of arch/s390/kernel/module.c
GOT = "GOT12 GOT16 GOT20 GOT32 GOT64 GOTENT GOTPLT12 GOTPLT16 GOTPLT20 GOTPLT32 GOTPLT64 GOTPLTENT"
PLT = "PLT16DBL PLT32 PLT32DBL PLT64 PLTOFF16 PLTOFF32 PLTOFF64"


def test_the_relocations_of_s390x_that_need_an_entry() -> None:
    def numbers(names: str) -> list[int]:
        return sorted(ENUM_RELOC_TYPE_S390X[f"R_390_{name}"] for name in names.split())

    assert sorted(S390_GOT) == numbers(GOT)
    assert sorted(S390_PLT) == numbers(PLT)
