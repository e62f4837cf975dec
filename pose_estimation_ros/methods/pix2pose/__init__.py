"""Dense object coordinates with their expected error."""

from pose_estimation_ros.methods.base import Method, Training

METHOD = Method(
    name="pix2pose",
    kind="backend",
    summary="Predicts for every pixel the object point seen there and its expected error; robust PnP makes the pose.",
    paper="Park, Patten and Vincze, Pix2Pose, ICCV 2019",
    settings="pose_estimation_ros.methods.pix2pose.settings:Pix2PoseSettings",
    load="pose_estimation_ros.methods.pix2pose.estimator:load",
    roles=("pix2pose",),
    training=Training(
        role="pix2pose",
        recipe="pose_estimation_ros.methods.pix2pose.training:Pix2PoseRecipe",
        train="pose_estimation_ros.methods.pix2pose.training:train_pix2pose",
        trial="pose_estimation_ros.methods.pix2pose.training:TRIAL",
        adaptation="pose_estimation_ros.methods.pix2pose.training:ADAPTATION",
        object_rows={
            "embedding.weight": 0,
            "head_weight": 0,
            "head_bias": 0,
            "classifier.weight": 0,
            "classifier.bias": 0,
        },
    ),
    tight_boxes=False,
    export="pose_estimation_ros.methods.pix2pose.export:export",
)
