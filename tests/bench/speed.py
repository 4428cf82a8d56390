# SPDX-License-Identifier: Apache-2.0
"""Times `rbdump parse` beside `trace-cmd report -t` on the same buffer, in one run, and prints the ratios.

    python tests/bench/speed.py REGION TRACE.DAT [--runs 5] [-- OPTIONS OF rbdump parse]

The commands run in turn (A B C A B C ...), each as a whole process with its output to /dev/null. CPU is user plus
system time of the process and its children as the kernel accounts them. Medians are printed, with the ratio
rbdump / trace-cmd of each pair. Peak memory is that of the largest single process.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass


@dataclass
class Run:
    cpu: float
    wall: float
    peak_mib: float


def run(command: list[str]) -> Run:
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit status {process.returncode}")
    return Run(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("region")
    parser.add_argument("trace_dat")
    parser.add_argument("--runs", type=int, default=5)
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    args = parser.parse_args(words[:end])
    rbdump = shutil.which("rbdump") or sys.exit("rbdump is not installed")
    trace_cmd = shutil.which("trace-cmd") or sys.exit("trace-cmd is not installed")
    parse = [rbdump, "parse", args.region, *words[end + 1 :]]
    commands = {
        "trace-cmd report -t": [trace_cmd, "report", "-t", args.trace_dat],
        "rbdump parse": parse,
        "rbdump parse --jobs 2": [*parse, "--jobs", "2"],
        "rbdump parse --event sched_switch --last 20": [*parse, "--event", "sched_switch", "--last", "20"],
        "rbdump info": [rbdump, "info", args.region],
    }
    results: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(args.runs):
        for name, command in commands.items():
            results[name].append(run(command))
    peer = results["trace-cmd report -t"]
    print(f"{'command':46} {'cpu s':>7} {'wall s':>7} {'MiB':>6}  cpu / trace-cmd")
    for name, runs in results.items():
        ratio = statistics.median(a.cpu / b.cpu for a, b in zip(runs, peer, strict=True))
        cpu, wall, peak = (statistics.median(getattr(r, key) for r in runs) for key in ("cpu", "wall", "peak_mib"))
        print(f"{name:46} {cpu:7.2f} {wall:7.2f} {peak:6.0f}  {ratio:.2f}")
    pairs = zip(results["rbdump parse --jobs 2"], results["rbdump parse"], strict=True)
    print(f"wall of --jobs 2 / wall of one process: {statistics.median(two.wall / one.wall for two, one in pairs):.2f}")


if __name__ == "__main__":
    main()
