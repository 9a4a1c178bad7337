"""Takes circulations out of a flow: traffic that goes round in a ring reaches nobody."""

from __future__ import annotations

from collections.abc import Sequence


def cancel_cycles(flows: dict[int, float], tails: Sequence[int], heads: Sequence[int]) -> dict[int, float]:
    """The same flow without cycles: what every node takes in and gives out in total stays balanced.

    Parameters
    ----------
    flows : dict of int to float
        Flow of each link that has any.
    tails, heads : sequences of int
        Where each link starts and ends.

    Returns
    -------
    dict of int to float
        Links that still carry something; on them no cycle is left.

    Notes
    -----
    One depth-first walk; each cycle found removes at least one link (Ahuja, Magnanti and Orlin,
    "Network Flows", 1993, theorem 3.5).
    """
    left = {link: flow for link, flow in flows.items() if flow > 0}
    leaving: dict[int, list[int]] = {}
    for link in sorted(left, reverse=True):
        leaving.setdefault(tails[link], []).append(link)
    for start in sorted(leaving):
        walk: list[int] = []
        place = {start: 0}
        node = start
        while True:
            options = leaving.get(node, [])
            while options and options[-1] not in left:
                options.pop()
            if not options:
                if not walk:
                    break
                # Nothing cyclic lies beyond this node: the link that led here stays, and is not walked again.
                del place[node]
                link = walk.pop()
                node = tails[link]
                leaving[node].remove(link)
                continue
            link = options[-1]
            walk.append(link)
            node = heads[link]
            if node not in place:
                place[node] = len(walk)
                continue
            ring = walk[place[node] :]
            round_flow = min(left[step] for step in ring)
            for step in ring:
                left[step] -= round_flow
                if left[step] <= 0:
                    del left[step]
            for step in ring[:-1]:
                del place[heads[step]]
            del walk[place[node] :]
    return left
