"""Local processes in cached virtual environments."""
