"""Pose refinement by render and compare."""
