"""Detectors, pose estimators and refiners: one folder per method, each independent of every other."""
