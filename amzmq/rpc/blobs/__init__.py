"""Blobs: what belongs to a payload and travels in chunks, when it is asked for."""
