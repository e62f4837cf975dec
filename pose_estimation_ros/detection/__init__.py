"""Find the known objects in an image."""
