"""Detection without a detector: sliding patches of the heatmaps network."""

from pose_estimation_ros.methods.base import Method

METHOD = Method(
    name="patches",
    kind="detector",
    summary="The patches of the heatmaps network slide over the image and vote for one instance of every object.",
    paper="Oberweger, Rad and Lepetit, Making Deep Heatmaps Robust to Partial Occlusions, ECCV 2018",
    settings="pose_estimation_ros.methods.patches.settings:PatchesSettings",
    load="pose_estimation_ros.methods.patches.detector:load",
    roles=("heatmaps",),
    tight_boxes=False,
)
