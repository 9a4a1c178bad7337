"""What runs on a fabric: jobs, their collectives, and where the ranks sit."""
