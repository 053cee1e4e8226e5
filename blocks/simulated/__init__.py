"""A backend that runs nothing."""
