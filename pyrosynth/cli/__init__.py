"""The command line."""

from pyrosynth.cli.app import app, main

__all__ = ["app", "main"]
