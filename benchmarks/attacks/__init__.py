"""Attacks on the controller, carried out on real switches: what hosts, rogue peers and silent neighbours can do.

Run as root: ``python -m benchmarks.attacks [--row NAME] [--framework ryu|os-ken] [--json]``.
"""
