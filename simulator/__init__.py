"""What a routing would do: flow-level simulation."""
