"""Rotations, cameras, symmetries and pose from correspondences: pure maths."""
