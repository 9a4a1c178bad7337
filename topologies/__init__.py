"""The fabric as a value: nodes and links, generators, readers and writers."""
