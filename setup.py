"""Kept for tools that look for it; everything it could say is in setup.cfg."""

from setuptools import setup

setup()
