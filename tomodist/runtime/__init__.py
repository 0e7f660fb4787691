"""Where tasks run: one runner for all steps, on a cluster or on threads."""
