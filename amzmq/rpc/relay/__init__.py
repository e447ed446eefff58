"""Serving again what is served elsewhere."""
