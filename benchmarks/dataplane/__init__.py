"""What the data plane promises, measured on real switches."""
