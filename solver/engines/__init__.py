"""What computes routings: each module one method, all from an `Instance` to an `Answer`."""
