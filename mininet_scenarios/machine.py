"""What the machine itself was doing: an emulation that runs out of CPU measures the CPU."""

from __future__ import annotations

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
