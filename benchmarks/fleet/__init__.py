"""Hundreds of OpenFlow 1.3 switches in one event loop, with tables that can be executed: `benchmarks.fleet.fleet`."""
