"""Detection with Mask R-CNN."""

from pose_estimation_ros.methods.base import Method, Training

METHOD = Method(
    name="mask_rcnn",
    kind="detector",
    summary="Boxes and masks of all known objects in one forward pass.",
    paper="He et al., Mask R-CNN, ICCV 2017",
    settings="pose_estimation_ros.methods.mask_rcnn.settings:MaskRCNNSettings",
    load="pose_estimation_ros.methods.mask_rcnn.detector:load",
    roles=("detector",),
    training=Training(
        role="detector",
        recipe="pose_estimation_ros.training.scene_training:DetectorRecipe",
        train="pose_estimation_ros.methods.mask_rcnn.training:train_detector",
        trial="pose_estimation_ros.methods.mask_rcnn.training:TRIAL",
        object_rows={
            f"roi_heads.{name}.{kind}": 1
            for name in ("box_predictor.cls_score", "box_predictor.bbox_pred", "mask_predictor.mask_fcn_logits")
            for kind in ("weight", "bias")
        },
    ),
    export="pose_estimation_ros.methods.mask_rcnn.export:export",
)
