"""Detection of objects that no network was trained on: proposals of one class, named by their rendered views."""

from pose_estimation_ros.methods.base import Method, Training

METHOD = Method(
    name="proposals",
    kind="detector",
    summary="Finds whatever lies there and names what looks like a rendered view; needs a mesh and no training.",
    paper="Nguyen et al., CNOS: A Strong Baseline for CAD-based Novel Object Segmentation, ICCV Workshops 2023",
    settings="pose_estimation_ros.methods.proposals.settings:ProposalsSettings",
    load="pose_estimation_ros.methods.proposals.detector:load",
    roles=("proposals", "descriptors"),
    training=Training(
        role="proposals",
        recipe="pose_estimation_ros.training.scene_training:DetectorRecipe",
        train="pose_estimation_ros.methods.proposals.training:train_proposals",
        trial="pose_estimation_ros.methods.proposals.training:TRIAL",
    ),
    further_trainings=(
        Training(
            role="descriptors",
            recipe="pose_estimation_ros.methods.proposals.descriptor_training:DescriptorRecipe",
            train="pose_estimation_ros.methods.proposals.descriptor_training:train_descriptors",
            trial="pose_estimation_ros.methods.proposals.descriptor_training:TRIAL",
        ),
    ),
    needs_meshes=True,
    export="pose_estimation_ros.methods.proposals.export:export",
)
