"""Path labels: which MPLS labels are free for new paths."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from topologies.errors import HeddleError

FIRST_LABEL, LAST_LABEL = 16, (1 << 20) - 1
"""Labels 0 to 15 are reserved (RFC 3032, section 2.1)."""
MAX_LABELS = (LAST_LABEL - FIRST_LABEL + 1) // 2
"""One plan uses at most half of the labels, so that its successor can be installed beside it."""


class LabelsExhausted(HeddleError):
    """More paths are wanted than there are labels for."""


def allocate(count: int, in_use: AbstractSet[int], quarantined: AbstractSet[int] = frozenset()) -> tuple[int, ...]:
    """The lowest free labels, ascending.

    Parameters
    ----------
    in_use, quarantined : set of int
        Labels of the active plan, and labels that packets under way may still carry.

    Raises
    ------
    LabelsExhausted
        Fewer than ``count`` labels are free.
    """
    if count > MAX_LABELS:
        raise LabelsExhausted(f"{count} paths need more than the {MAX_LABELS} labels of one plan; plan fewer pairs")
    taken = in_use | quarantined
    free: list[int] = []
    label = FIRST_LABEL
    while len(free) < count and label <= LAST_LABEL:
        if label not in taken:
            free.append(label)
        label += 1
    if len(free) < count:
        raise LabelsExhausted(f"only {len(free)} of {count} labels are free; wait until old paths have drained")
    return tuple(free)
