"""Stable identities and smooth poses over time."""
