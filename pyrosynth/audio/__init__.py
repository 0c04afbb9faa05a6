"""Sounds as arrays: notes, files, features, distances, descriptors, pitch."""
