"""Mesh and pose to images: ray casting and shading."""
