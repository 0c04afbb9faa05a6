"""Hosts of plugins, a module per format, behind the interface that ``plugin`` defines."""
