# SPDX-License-Identifier: Apache-2.0
"""From an opened region to the table of its records: walk, order, epochs, findings, merge.

Mirrors what a reader of the kernel's `trace` file goes through (kernel/trace/ring_buffer.c), for all CPUs at once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rbdump.columns import distinct
from rbdump.findings import Finding
from rbdump.ring.check import check_boots, check_order, check_strict, check_subbufs
from rbdump.ring.epochs import assign_epochs, outliers
from rbdump.ring.merge import NO_BOUND, merge_records
from rbdump.ring.order import wide_order
from rbdump.ring.records import RecordTable
from rbdump.ring.region import CpuBuffer, Region
from rbdump.ring.strict import Policy, strict_order
from rbdump.ring.subbufs import SubbufState
from rbdump.ring.sweep import Sweep, sweep

__all__ = ["show_records", "walk_region"]

Ints = npt.NDArray[np.int64]
Stamps = npt.NDArray[np.uint64]


def walk_region(region: Region, *, policy: Policy | None = None) -> RecordTable:
    """All records of ``region``: those of `show_records`."""
    return show_records(sweep(region), policy=policy)


def show_records(swept: Sweep, *, policy: Policy | None = None) -> RecordTable:
    """All records of a region, merged in the kernel's order; fills the columns of each CPU's `Subbufs`. Once a sweep.

    ``policy`` None shows all that can be decoded; a name shows what a kernel with that policy would show after a
    reboot (`default_policy` chooses by layout). Only then are two boots in one ring mixed, as the kernel mixes them.

    Findings are added to ``region.findings``, each one once.
    """
    region = swept.region
    for cpu in region.cpus:
        _reset(cpu)
    findings: list[Finding] = []
    for number in range(len(region.cpus)):
        findings += check_subbufs(swept, number)
    table = _show_all(swept, findings) if policy is None else _show_strict(swept, policy, findings)
    known = set(region.findings)
    region.findings += [finding for finding in findings if finding not in known]
    return table


def _reset(cpu: CpuBuffer) -> None:
    subbufs = cpu.subbufs
    subbufs.state[subbufs.state != SubbufState.MISSING] = SubbufState.EMPTY
    subbufs.nr_events[:] = 0
    subbufs.epoch[:] = 0
    subbufs.bad_offset[:] = -1


def _show_all(swept: Sweep, findings: list[Finding]) -> RecordTable:
    orders, lost, used = [], [], []
    for number, cpu in enumerate(swept.region.cpus):
        subbufs, events = cpu.subbufs, swept.walked.nr_events[swept.part(number)]
        order = wide_order(cpu, swept.chains(number))
        orders.append(order)
        lost.append(subbufs.missed_count[order])
        used.append(order[events[order] > 0])
        subbufs.nr_events[order] = events[order]
    stamps = [cpu.subbufs.time_stamp[order] for cpu, order in zip(swept.region.cpus, used, strict=True)]
    latest = []
    all_epochs = assign_epochs(stamps)
    findings += check_boots(swept.region.cpus, stamps, all_epochs)
    for number, epochs in enumerate(all_epochs):
        cpu, order = swept.region.cpus[number], orders[number]
        cpu.subbufs.epoch[used[number]] = epochs
        part = swept.part(number)
        last_ts = swept.walked.last_ts[part][used[number]]
        bounds, misfit, late = _bounds(stamps[number], last_ts, epochs)
        overlap = used[number][late & ~misfit]
        stalled = swept.walked.stalled[part][overlap]
        findings += check_order(cpu, order, used[number][misfit], overlap, stalled)
        everywhere = np.full(len(cpu), NO_BOUND)
        everywhere[used[number]] = bounds
        latest.append(everywhere[order])
    return merge_records(swept, orders, lost, latest)


def _show_strict(swept: Sweep, policy: Policy, findings: list[Finding]) -> RecordTable:
    orders, lost = [], []
    for number, cpu in enumerate(swept.region.cpus):
        part = swept.part(number)
        result = strict_order(swept.region, cpu, swept.chains(number), policy)
        findings += check_strict(cpu, result, policy)
        subbufs = cpu.subbufs
        shown = np.zeros(len(subbufs), np.bool_)
        shown[result.order] = subbufs.size[result.order] > 0
        shown[result.discarded] = False
        subbufs.nr_events[shown] = swept.walked.nr_events[part][shown]
        mark = np.zeros(len(subbufs), np.int64)
        mark[result.discarded] = -1
        mark[result.order[:1]] = 0  # rb_iter_reset() starts at the reader page and does not look at its mark
        order = result.order[shown[result.order] | (mark[result.order] != 0)]
        orders.append(order)
        lost.append(mark[order])
    return merge_records(swept, orders, lost, None)


def _bounds(
    stamps: Stamps, last_ts: Stamps, epochs: npt.NDArray[np.uint8]
) -> tuple[Stamps, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """For one CPU's sub-buffers in order: the latest time each may claim, whose stamps misfit, who ends too late.

    A sub-buffer without damage ends before the next one of its boot begins, and has no bound.
    """
    bounds = np.full(len(stamps), NO_BOUND)
    misfit = np.zeros(len(stamps), np.bool_)
    following = np.full(len(stamps), NO_BOUND)
    for epoch in distinct(epochs):
        rows = np.flatnonzero(epochs == epoch)
        misfit[rows] = outliers(stamps[rows])
        fitting = np.where(misfit[rows], NO_BOUND, stamps[rows])
        following[rows[:-1]] = np.minimum.accumulate(fitting[::-1])[::-1][1:]
    late = last_ts > following
    bounds[late] = following[late]
    return bounds, misfit, late
