"""Poses of objects that no network was trained on: a table of their rendered views, then render and compare."""

from pose_estimation_ros.methods.base import Method

METHOD = Method(
    name="unseen",
    kind="backend",
    summary="Looks boxes up in a table of rendered views and refines the likeliest; needs a mesh and no training.",
    paper="Labbe et al., MegaPose: 6D Pose Estimation of Novel Objects via Render & Compare, CoRL 2022",
    settings="pose_estimation_ros.methods.unseen.settings:UnseenSettings",
    load="pose_estimation_ros.methods.unseen.estimator:load",
    roles=("attention",),
    drawing="pose_estimation_ros.methods.unseen.drawing:draw",
    needs_meshes=True,
    searches=True,
    export="pose_estimation_ros.methods.unseen.export:export",
)
