"""Find the 6D pose of every known object in a camera image and publish it on TF."""

import os

# OpenMP's threads spin while they wait for one another. Where other processes want the cores too, as on every robot,
# the spinning takes the cores from the very threads that are waited for, and a frame takes several times as long.
# Read once, when PyTorch is loaded, hence here.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
