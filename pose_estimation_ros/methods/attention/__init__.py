"""Refinement by spatial attention: render, compare, move, a few times."""

from pose_estimation_ros.methods.base import Method, Training

METHOD = Method(
    name="attention",
    kind="refiner",
    summary="Renders every object at its pose, compares with the image where that can be done, and moves the pose.",
    paper="Stevsic and Hilliges, Spatial Attention Improves Iterative 6D Object Pose Estimation, 3DV 2020",
    settings="pose_estimation_ros.methods.attention.settings:AttentionSettings",
    load="pose_estimation_ros.methods.attention.refiner:load",
    roles=("attention",),
    training=Training(
        role="attention",
        recipe="pose_estimation_ros.methods.attention.training:AttentionRecipe",
        train="pose_estimation_ros.methods.attention.training:train_attention",
        trial="pose_estimation_ros.methods.attention.training:TRIAL",
        adaptation="pose_estimation_ros.methods.attention.adaptation:ADAPTATION",
    ),
    drawing="pose_estimation_ros.methods.attention.drawing:draw",
    tight_boxes=False,
    needs_meshes=True,
    export="pose_estimation_ros.methods.attention.export:export",
)
