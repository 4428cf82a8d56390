# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the sub-buffers of one CPU, as findings: the kernel's own checks at boot, and what it never says.

Mirrors rb_validate_buffer() and rb_read_data_buffer() of kernel/trace/ring_buffer.c for the checks; the codes and
words are rbdump's own and the same for every layout and policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from rbdump.findings import Finding, Severity
from rbdump.ring.region import CpuBuffer
from rbdump.ring.strict import Policy, StrictOrder
from rbdump.ring.subbufs import SubbufState
from rbdump.ring.sweep import Sweep
from rbdump.ring.walk import ChainError

__all__ = ["check_boots", "check_order", "check_strict", "check_subbufs"]

Ints = npt.NDArray[np.int64]

_CHAIN_ERRORS = {
    ChainError.NULL_PADDING: ("null-padding", "padding without a length"),
    ChainError.BAD_LENGTH: ("record-length", "a record with an impossible length"),
    ChainError.OVERRUN: ("record-overrun", "a record that reaches over the end"),
}


def check_subbufs(sweep: Sweep, number: int) -> Iterator[Finding]:
    """Findings on single sub-buffers of the ``number``-th CPU; sets `Subbufs.bad_offset`."""
    cpu, part, walked = sweep.region.cpus[number], sweep.part(number), sweep.walked
    subbufs, data_size = cpu.subbufs, sweep.region.data_size
    errors, stop, backwards = walked.error[part], walked.stop[part], walked.backwards[part]
    committed = (subbufs.size > 0) & (subbufs.state != SubbufState.MISSING)

    def found(index: int, severity: Severity, code: str, message: str, offset: int) -> Finding:
        return Finding(severity, code, message, cpu=cpu.cpu, subbuf=index, offset=offset)

    for index in np.flatnonzero(committed & (subbufs.size > data_size)).tolist():
        yield found(
            index,
            Severity.ERROR,
            "commit-too-large",
            f"the commit word is {int(subbufs.commit[index]):#x} and {data_size} bytes are there",
            int(subbufs.offset[index]),
        )
    for index in np.flatnonzero(committed & (subbufs.size <= data_size) & (subbufs.size % 4 != 0)).tolist():
        message = f"{int(subbufs.size[index])} committed bytes cannot be whole records"
        yield found(index, Severity.ERROR, "commit-unaligned", message, int(subbufs.offset[index]))
    broken = committed & (errors != 0)
    subbufs.bad_offset[broken] = stop[broken] * 4 + sweep.words.offset
    for index in np.flatnonzero(broken).tolist():
        code, words = _CHAIN_ERRORS[ChainError(int(errors[index]))]
        done = int(stop[index] - sweep.begin[part][index]) * 4
        left = min(int(subbufs.size[index]), data_size) - done
        if 4 * int(sweep.capacity[part][index]) < done + left:
            code, words = "subbuf-cut-off", "the input ends inside it"
        yield found(
            index,
            Severity.ERROR,
            code,
            f"{words}; {left} of {done + left} bytes are not decoded",
            int(subbufs.bad_offset[index]),
        )
    for index in np.flatnonzero(committed & (backwards >= 0)).tolist():
        at = int(backwards[index]) * 4 + sweep.words.offset
        yield found(index, Severity.ERROR, "time-backwards", "an absolute time stamp goes back", at)
    yield from _check_discarded(sweep, number, committed)


def _check_discarded(sweep: Sweep, number: int, committed: npt.NDArray[np.bool_]) -> Iterator[Finding]:
    """Discarded records hold time that the kernel's readers forget: what follows in the sub-buffer is shown early."""
    cpu, part = sweep.region.cpus[number], sweep.part(number)
    count = sweep.walked.discarded[part]
    held = sweep.walked.discarded_time[part]
    some = committed & (count > 0)
    if some.any():
        yield Finding(
            Severity.INFO,
            "discarded-records",
            f"{int(count[some].sum())} records were discarded after they had been written; the kernel does not count "
            f"their time, so that events behind them appear up to {int(held[some].max())} clock units early",
            cpu=cpu.cpu,
        )


def check_order(
    cpu: CpuBuffer, order: Ints, misfits: Ints, late: Ints, stalled: npt.NDArray[np.bool_]
) -> Iterator[Finding]:
    """Findings on what the order of ``cpu`` shows: ``misfits`` and ``late`` are sub-buffers with damaged stamps.

    Those of ``late`` that are ``stalled`` were written while the clock went backwards: on x86 it does so early in a
    boot, when it counts no more jiffies but TSC. The kernel keeps them.
    """
    subbufs = cpu.subbufs
    state = subbufs.state

    def summary(chosen: npt.NDArray[np.bool_], severity: Severity, code: str, message: str) -> Iterator[Finding]:
        count = int(np.count_nonzero(chosen))
        if count:
            events = int(subbufs.nr_events[chosen].sum())
            at = int(subbufs.offset[np.flatnonzero(chosen)[0]])
            yield Finding(severity, code, message.format(count=count, events=events), cpu=cpu.cpu, offset=at)

    if cpu.head is not None and cpu.head == cpu.reader:
        message = "the head pointer names the reader page, which a reader was taking: time stamps tell the head page"
        yield Finding(Severity.INFO, "reader-swap", message, cpu=cpu.cpu, subbuf=cpu.head, offset=cpu.offset)
    for index in misfits.tolist():
        message = f"its time stamp {int(subbufs.time_stamp[index])} does not fit between its neighbours"
        at = int(subbufs.offset[index])
        yield Finding(Severity.ERROR, "time-stamp-misfit", message, cpu=cpu.cpu, subbuf=index, offset=at)
    for index, by_clock in zip(late.tolist(), stalled.tolist(), strict=True):
        severity, code = Severity.ERROR, "time-overlap"
        message = "its last events are later than the next sub-buffer's first"
        if by_clock:
            severity, code = Severity.WARNING, "clock-backwards"
            message = (
                "the trace clock went backwards: its last events have later times than the next sub-buffer's first"
            )
        at = int(subbufs.offset[index])
        yield Finding(severity, code, message, cpu=cpu.cpu, subbuf=index, offset=at)
    yield from summary(
        state == SubbufState.CONSUMED,
        Severity.INFO,
        "consumed",
        "{count} sub-buffers with {events} events had been read already and are shown",
    )
    yield from summary(
        state == SubbufState.STRAY,
        Severity.WARNING,
        "stray",
        "{count} sub-buffers with {events} events are not where the kernel would look and are shown",
    )
    yield from summary(
        state == SubbufState.STALE,
        Severity.INFO,
        "stale",
        "{count} sub-buffers were cleared or consumed; they hold old bytes without a certain time, not shown",
    )
    yield from summary(
        state == SubbufState.DISCARDED,
        Severity.WARNING,
        "discarded",
        "{count} sub-buffers were discarded by the validation of a later boot; their events have no certain time",
    )
    yield from summary(state == SubbufState.MISSING, Severity.ERROR, "missing", "{count} sub-buffers are cut off")
    missed = subbufs.missed & (state != SubbufState.MISSING)
    yield from summary(missed, Severity.INFO, "missed-events", "events were lost before {count} sub-buffers")
    if len(order) and subbufs.epoch[order].any():
        boots = int(subbufs.epoch[order].max()) + 1
        first = order[np.flatnonzero(subbufs.epoch[order] == 0)[0]]
        yield Finding(
            Severity.WARNING,
            "several-boots",
            f"{boots} boots wrote into this buffer; the last one begins with sub-buffer {int(first)}",
            cpu=cpu.cpu,
            subbuf=int(first),
            offset=int(subbufs.offset[first]),
        )


def check_boots(
    cpus: Sequence[CpuBuffer], stamps: Sequence[npt.NDArray[np.uint64]], epochs: Sequence[npt.NDArray[np.uint8]]
) -> Iterator[Finding]:
    """CPUs that may have been silent in the last boot; ``stamps`` and ``epochs`` as of `assign_epochs`."""
    ends = [part[epoch == 0].max() for part, epoch in zip(stamps, epochs, strict=True) if epoch.any()]
    for cpu, part, epoch in zip(cpus, stamps, epochs, strict=True):
        if ends and len(part) and not epoch.any() and part.min() > max(ends):
            message = "all it has is later than the last boot of the other CPUs: it may be of an earlier boot"
            yield Finding(Severity.WARNING, "boot-uncertain", message, cpu=cpu.cpu, offset=cpu.offset)


def check_strict(cpu: CpuBuffer, result: StrictOrder, policy: Policy) -> Iterator[Finding]:
    """Findings on what a kernel with ``policy`` would not keep."""
    if result.why and cpu.subbufs.size.any():
        message = f"a kernel with the policy of {policy} gives this CPU up: {result.why}"
        yield Finding(Severity.WARNING, "cpu-rejected", message, cpu=cpu.cpu, offset=cpu.offset)
    for index in result.discarded.tolist():
        message = f"a kernel with the policy of {policy} discards it"
        at = int(cpu.subbufs.offset[index])
        yield Finding(Severity.WARNING, "subbuf-rejected", message, cpu=cpu.cpu, subbuf=index, offset=at)
