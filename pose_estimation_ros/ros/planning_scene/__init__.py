"""The bridge to MoveIt: detections of a pose node become objects of a planning scene."""
