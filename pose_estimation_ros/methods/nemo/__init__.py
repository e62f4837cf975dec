"""NeMo: neural mesh models, fitted to the features of the image."""

from pose_estimation_ros.methods.base import Method, Training

METHOD = Method(
    name="nemo",
    kind="backend",
    summary="Meshes with a feature at every vertex are fitted to the features of the image; an occluder model decides.",
    paper="Wang, Kortylewski and Yuille, NeMo, ICLR 2021",
    settings="pose_estimation_ros.methods.nemo.settings:NemoSettings",
    load="pose_estimation_ros.methods.nemo.estimator:load",
    roles=("nemo",),
    training=Training(
        role="nemo",
        recipe="pose_estimation_ros.methods.nemo.training:NemoRecipe",
        train="pose_estimation_ros.methods.nemo.training:train_nemo",
        trial="pose_estimation_ros.methods.nemo.training:TRIAL",
        adaptation="pose_estimation_ros.methods.nemo.training:ADAPTATION",
        object_rows=None,
    ),
    drawing="pose_estimation_ros.methods.nemo.drawing:draw",
    searches=True,
    export="pose_estimation_ros.methods.nemo.export:export",
)
