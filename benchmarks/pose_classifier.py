"""A network that classifies the pose of a crop: the rival of neural mesh models in `nemo_occlusion.py`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from pose_estimation_ros.data.synthetic import CropBatch
from pose_estimation_ros.geometry.rotations import matrix_from_axis_angle
from pose_estimation_ros.geometry.virtual_camera import look_at, rotation_between
from pose_estimation_ros.networks.encoder import ResNetEncoder

SIZE = 64  # side of the crops
AZIMUTHS, OTHERS, OTHER_RANGE = 36, 24, np.pi / 3.0  # bins of azimuth; of elevation and roll -60 to 60 degrees


class PoseClassifier(nn.Module):
    """The rival: the classes of azimuth, elevation and roll of a crop, for all categories in one network."""

    def __init__(self, objects: int) -> None:
        super().__init__()
        self.encoder = ResNetEncoder()
        self.read = nn.Linear(self.encoder.channels[-1], 256)
        self.embedding = nn.Embedding(objects, 256)
        self.out = nn.Linear(256, AZIMUTHS + 2 * OTHERS)

    def forward(self, crops: Tensor, object_index: Tensor) -> tuple[Tensor, ...]:
        """Return logits of azimuth, elevation and roll of crops (B, 3, S, S)."""
        features = self.encoder(crops)[-1].mean(dim=(2, 3))
        prediction = self.out(torch.relu(self.read(features) + self.embedding(object_index)))
        return prediction.float().split([AZIMUTHS, OTHERS, OTHERS], dim=1)


def turn_to(camera: Tensor) -> Tensor:
    """Return rotations (B, 3, 3) from a camera that looks at the centre of the crops to their own cameras."""
    centre = torch.cat([torch.full((len(camera), 2), (SIZE - 1) / 2.0), torch.ones(len(camera), 1)], dim=1)
    ray = (torch.linalg.inv(camera) @ centre[..., None])[..., 0]
    return rotation_between(ray.new_tensor([0.0, 0.0, 1.0]).expand_as(ray), ray)


def angles_of(poses: Tensor, camera: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return azimuth, elevation and roll (B,) of poses (B, 4, 4), seen by a camera that looks at the crop's centre."""
    rotation = turn_to(camera).mT @ poses[:, :3, :3]
    toward = -rotation[:, 2]  # the object's axes, from the object to the camera
    upright = torch.from_numpy(look_at(toward.double().numpy())).float()
    rolled = rotation @ upright.mT
    return (
        torch.atan2(toward[:, 1], toward[:, 0]),
        torch.asin(toward[:, 2].clamp(-1.0, 1.0)),
        torch.atan2(rolled[:, 1, 0], rolled[:, 0, 0]),
    )


def bins_of(poses: Tensor, camera: Tensor) -> tuple[Tensor, ...]:
    """Return the classes of azimuth, elevation and roll (B,)."""
    azimuth, elevation, roll = angles_of(poses, camera)
    first = torch.floor(azimuth / (2.0 * torch.pi) * AZIMUTHS).long() % AZIMUTHS
    scaled = [
        ((item / OTHER_RANGE + 1.0) / 2.0 * OTHERS).floor().clamp(0, OTHERS - 1).long() for item in (elevation, roll)
    ]
    return first, scaled[0], scaled[1]


def rotations_from(logits: tuple[Tensor, ...], camera: Tensor) -> Tensor:
    """Return the rotations (B, 3, 3) in the centre of the likeliest classes."""
    best = [item.argmax(dim=1).float() + 0.5 for item in logits]
    azimuth = best[0] / AZIMUTHS * 2.0 * torch.pi
    elevation, roll = ((item / OTHERS * 2.0 - 1.0) * OTHER_RANGE for item in best[1:])
    flat = elevation.cos()
    toward = torch.stack([flat * azimuth.cos(), flat * azimuth.sin(), elevation.sin()], dim=1)
    zero = torch.zeros_like(roll)
    upright = torch.from_numpy(look_at(toward.double().numpy())).float()
    return turn_to(camera) @ matrix_from_axis_angle(torch.stack([zero, zero, roll], dim=1)) @ upright


def classifier_step(network: nn.Module, batch: CropBatch) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss of the classifier."""
    prediction = network(pixels_of(batch), batch.object_index)
    wanted = bins_of(batch.camera_from_object, batch.camera)
    losses = [nn.functional.cross_entropy(item, target) for item, target in zip(prediction, wanted, strict=True)]
    return torch.stack(losses).sum(), {"azimuth": losses[0].detach()}


def pixels_of(batch: CropBatch) -> Tensor:
    """Return crops as networks take them."""
    return batch.images.float().div(255.0).contiguous(memory_format=torch.channels_last)
