"""Deliberate mistakes, one at a time, and whether the tests see them. See README.md."""
