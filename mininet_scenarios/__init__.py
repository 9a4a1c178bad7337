"""Emulated training clusters that run real collectives."""
