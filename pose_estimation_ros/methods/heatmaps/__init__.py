"""Deep Heatmaps: patches vote for the control points of an object."""

from pose_estimation_ros.methods.base import Method, Training

METHOD = Method(
    name="heatmaps",
    kind="backend",
    summary="Many patches vote for the projections of control points; accumulated, the votes are robust to occlusion.",
    paper="Oberweger, Rad and Lepetit, Making Deep Heatmaps Robust to Partial Occlusions, ECCV 2018",
    settings="pose_estimation_ros.methods.heatmaps.settings:HeatmapsSettings",
    load="pose_estimation_ros.methods.heatmaps.estimator:load",
    roles=("heatmaps",),
    training=Training(
        role="heatmaps",
        recipe="pose_estimation_ros.methods.heatmaps.training:HeatmapsRecipe",
        train="pose_estimation_ros.methods.heatmaps.training:train_heatmaps",
        trial="pose_estimation_ros.methods.heatmaps.training:TRIAL",
        adaptation="pose_estimation_ros.methods.heatmaps.training:ADAPTATION",
        object_rows=None,
    ),
    drawing="pose_estimation_ros.methods.heatmaps.drawing:draw",
    tight_boxes=False,
    export="pose_estimation_ros.methods.heatmaps.export:export",
)
