"""Feature Mapping's predictor: the projections of the box's corners, regressed from the whole crop."""

from pose_estimation_ros.methods.base import Method, Training

METHOD = Method(
    name="corners",
    kind="backend",
    summary="Regresses where the eight corners of the object's box are in the image; PnP makes the pose.",
    paper="Rad, Oberweger and Lepetit, Feature Mapping, CVPR 2018",
    settings="pose_estimation_ros.methods.corners.settings:CornersSettings",
    load="pose_estimation_ros.methods.corners.estimator:load",
    roles=("corners",),
    training=Training(
        role="corners",
        recipe="pose_estimation_ros.methods.corners.training:CornersRecipe",
        train="pose_estimation_ros.methods.corners.training:train_corners",
        trial="pose_estimation_ros.methods.corners.training:TRIAL",
        adaptation="pose_estimation_ros.methods.corners.training:ADAPTATION",
        object_rows={"embedding.weight": 0, "head_weight": 0, "head_bias": 0, "outline": 0},
    ),
    drawing="pose_estimation_ros.methods.corners.drawing:draw",
    tight_boxes=False,
    export="pose_estimation_ros.methods.corners.export:export",
)
