"""Exporters, on the real libraries."""
