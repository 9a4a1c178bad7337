"""The daemon: switches on one side, the API on the other, one thread that owns the state."""
