"""How long the solver takes, beside what else a user would take, on the same instances in the same run."""
