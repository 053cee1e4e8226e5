"""Tests of blocks/docker/."""
