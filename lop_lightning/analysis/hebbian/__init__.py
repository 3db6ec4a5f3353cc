"""Plastic networks over movies: what their weights do while they watch, and what they have become over R."""
