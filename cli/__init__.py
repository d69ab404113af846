"""The command line `ff`: one file a command. Installed as package `featurefields_cli`."""

from .main import main

__all__ = ["main"]
