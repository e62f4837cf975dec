"""A page in the browser with what a pose node publishes: camera, image, objects, tracks, and the node's buttons."""
