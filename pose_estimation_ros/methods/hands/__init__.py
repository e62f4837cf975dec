"""Hand joints from depth images: DeepPrior++, trained on hands that nobody has."""

from pose_estimation_ros.methods.base import Method, Training

METHOD = Method(
    name="hands",
    kind="hands",
    summary="Finds hands in depth images and regresses 14 joints of each through a linear prior of hand poses.",
    paper="Oberweger and Lepetit, DeepPrior++, ICCVW 2017",
    settings="pose_estimation_ros.methods.hands.settings:HandSettings",
    load="pose_estimation_ros.methods.hands.estimator:load",
    roles=("hands",),
    training=Training(
        role="hands",
        recipe="pose_estimation_ros.methods.hands.training:HandRecipe",
        train="pose_estimation_ros.methods.hands.training:train_hands",
        trial="pose_estimation_ros.methods.hands.training:TRIAL",
        object_rows=None,
        adaptation="pose_estimation_ros.methods.hands.adaptation:ADAPTATION",
        new_bundle="pose_estimation_ros.methods.hands.training:new_bundle",
    ),
    export="pose_estimation_ros.methods.hands.export:export",
)
