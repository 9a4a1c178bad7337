"""The machine's processors: what they were doing, and who comes first. Out of CPU, an emulation measures the CPU."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

CPU_LIMIT_IDLE = 0.1
"""Below this share of idle time the CPU, not the fabric, may be what limited a result."""


@dataclass(frozen=True, slots=True)
class CpuTime:
    """Ticks since boot over all processors."""

    idle: int
    total: int

    @classmethod
    def now(cls) -> CpuTime:
        with Path("/proc/stat").open() as stat:
            ticks = [int(field) for field in stat.readline().split()[1:9]]
        return cls(idle=ticks[3] + ticks[4], total=sum(ticks))

    def idle_share_since(self, earlier: CpuTime) -> float:
        """Share of the time since then in which processors had nothing to do, from 0 to 1."""
        passed = self.total - earlier.total
        return (self.idle - earlier.idle) / passed if passed > 0 else 1.0


SWITCH_NICENESS = -10
"""A switch that waits for a processor is a link that stands still: it comes before the ranks, and before us."""
DAEMON_NICENESS = -8
"""A daemon has a machine of its own; here it comes before all but the switches, or their channels go silent."""


def set_niceness(pid: int, niceness: int) -> None:
    """Place a process among those that want a processor; threads and children that it starts later inherit it.

    With autogroups (sched(7)) every session is a group, groups share the processors evenly, and niceness counts inside
    a group alone. Sixteen ranks, each its own session, then leave a switch one seventeenth of what is fought over, so
    the group is placed as well. ``pid`` must lead a session, or its neighbours are moved with it.
    """
    # Not every container may come before others; the ranks stay behind in any case.
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, pid, niceness)
    # A kernel without autogroups has no such file, and needs none.
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(niceness))
