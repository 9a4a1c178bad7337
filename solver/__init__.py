"""Demands in, routing with its proof out."""
