"""Selectable pose estimators."""
