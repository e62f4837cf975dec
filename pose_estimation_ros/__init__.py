"""Find the 6D pose of every known object in a camera image and publish it on TF."""

__version__ = "0.1.0"
