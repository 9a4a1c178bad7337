"""What traffic feels of updates and failures, measured on real switches, row by row.

Run as root: ``python -m benchmarks.dataplane [--framework ryu|os-ken] [--row NAME ...] [--json] [--quick]``.
"""
