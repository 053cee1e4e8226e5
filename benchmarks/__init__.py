"""Measurements of Proctor, run by `make bench`."""
