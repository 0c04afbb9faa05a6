"""Datasets of rendered presets, their splits and tags, and the bank of known presets."""
