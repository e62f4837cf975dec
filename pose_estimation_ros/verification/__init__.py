"""Check poses against the image and against each other: one probability for each, and none twice."""
