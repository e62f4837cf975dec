"""Two methods of another package: a pose estimator with a network, and a detector without one."""

from pose_estimation_ros.methods.base import Method, Training

TOY = Method(
    name="toy",
    kind="backend",
    summary="A network of two layers says where the object is; its rotation is a setting.",
    paper="none",
    settings="toy_methods.settings:ToySettings",
    load="toy_methods.estimator:load",
    roles=("toy",),
    training=Training(
        role="toy",
        recipe="toy_methods.training:ToyRecipe",
        train="toy_methods.training:train_toy",
        trial="toy_methods.training:TRIAL",
    ),
    drawing="toy_methods.drawing:draw",
)

TOY_COLOURS = Method(
    name="toy_colours",
    kind="detector",
    summary="Takes the largest colourful regions for the objects of the catalog, in its order.",
    paper="none",
    settings="toy_methods.settings:ToyColoursSettings",
    load="toy_methods.detector:load",
)
