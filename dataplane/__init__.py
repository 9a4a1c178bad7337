"""Rules as values: compiled from a routing, executed in memory, verified, compared."""
