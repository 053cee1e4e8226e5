"""Tests of blocks/."""
