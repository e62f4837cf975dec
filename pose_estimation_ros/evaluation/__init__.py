"""Pose error metrics, BOP result files and reports."""
