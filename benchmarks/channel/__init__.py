"""Measures what the OpenFlow channel promises, with fake switches; see `benchmarks.channel.__main__`."""
