"""Recipe of the descriptors that things are named by: an object in an image is told from others by its renderings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pose_estimation_ros.data.pairs import PairConfig, PairSource
from pose_estimation_ros.data.synthetic import CropConfig
from pose_estimation_ros.data.view_bank import ViewBank
from pose_estimation_ros.geometry.transfer import to_device
from pose_estimation_ros.methods.proposals.matching import DESCRIPTORS
from pose_estimation_ros.methods.view_table import PADDING, SIZE, on_grey, shares
from pose_estimation_ros.networks.descriptor_net import STRIDE, DescriptorNet, masked_cosines
from pose_estimation_ros.networks.precision import autocast
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.objects.object_tensors import object_sizes
from pose_estimation_ros.training.batch_stream import Draw
from pose_estimation_ros.training.crop_source import build_network
from pose_estimation_ros.training.crop_training import CropRecipe, CropTraining
from pose_estimation_ros.training.shared_batch import gathered
from pose_estimation_ros.training.trainer import OptimiserConfig, TrainingRun
from pose_estimation_ros.training.trial import TINY, Trial


class DescriptorRecipe(CropRecipe):
    """Everything that decides what the training does."""

    samples: int = Field(default=200_000, ge=1)  # pairs of image and rendering seen
    # How far renderings are from the images: about as far as tabled views and proposals' boxes are off.
    pairs: PairConfig = PairConfig(padding=PADDING, log_distance=0.08, shift=0.05, roll_deg=10.0, color=0.3)
    pair_weight: float = Field(
        default=1.0, ge=0.0
    )  # of telling pairs from others one by one, beside choosing among all
    optimiser: OptimiserConfig = OptimiserConfig(batch=96, learning_rate=1e-3, warmup_samples=4000)
    crops: CropConfig = CropConfig(masked_share=0.0, off_axis_deg=(0.0, 0.0))


@dataclass(frozen=True)
class DescriptorBatch:
    """B images of objects, and renderings of the same objects from nearly the same side."""

    observed: Tensor  # (B, 3, SIZE, SIZE) uint8
    drawn: Tensor  # (B, 3, SIZE, SIZE) float16, on grey
    visible: Tensor  # (B, h, w) share of the cells of the image that shows the object
    covered: Tensor  # (B, h, w) share of the cells of the rendering that its object covers
    object_index: Tensor  # (B,) int64

    def __len__(self) -> int:
        return len(self.observed)


class DescriptorStep:
    """The losses of one batch: which rendering is of which image, and whether two belong together at all.

    The first is InfoNCE (van den Oord et al. 2018) both ways, the second the pairwise sigmoid loss of Zhai et al. 2023,
    which makes similarities comparable between images: what is none of the objects has to be told as well.
    """

    def __init__(self, recipe: DescriptorRecipe, device: torch.device) -> None:
        self.recipe = recipe
        self.device = device

    def __call__(self, network: nn.Module, batch: DescriptorBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its parts."""
        assert isinstance(network, DescriptorNet)
        observed = to_device(batch.observed, self.device).float() / 255.0
        images = torch.cat([observed, to_device(batch.drawn, self.device).float()])
        with autocast(self.device, self.recipe.optimiser.bf16):
            seen, drawn = map(gathered, network(images.contiguous(memory_format=torch.channels_last)).chunk(2))
        visible, covered, index = (
            gathered(item.to(self.device)) for item in (batch.visible, batch.covered, batch.object_index)
        )
        odds = masked_cosines(seen, visible, drawn, shares(covered)) * network.log_sharpness.exp()
        truth = torch.arange(len(index), device=self.device)
        own = torch.eye(len(index), dtype=torch.bool, device=self.device)
        same = (index[:, None] == index[None]) & ~own  # other views of the object: neither right nor wrong
        choice = odds.masked_fill(same, -torch.inf)
        chosen = (F.cross_entropy(choice, truth) + F.cross_entropy(choice.T, truth)) / 2.0
        single = F.binary_cross_entropy_with_logits(odds + network.bias, own.float(), reduction="none")
        single = single.masked_fill(same, 0.0).sum() / len(index)
        loss = 2.0 * chosen + self.recipe.pair_weight * single
        right = (choice.argmax(dim=1) == truth).float().mean()
        return loss, {"chosen": chosen.detach(), "single": single.detach(), "right": right}


def train_descriptors(run: TrainingRun, recipe: DescriptorRecipe) -> Bundle:
    """Train the network and write its weights into the bundle."""
    bundle = run.bundle
    bundle.catalog.require_single_meshes(f"network {DESCRIPTORS}")
    training = CropTraining(run, recipe, DESCRIPTORS)
    network = build_network(DescriptorNet, **recipe.network)
    training.load_start(network)
    trainer = training.trainer(network, recipe.samples)
    sizes = object_sizes(bundle.catalog, training.device)
    make = partial(
        _maker, training.bank, training.backgrounds, training.crop_config(SIZE), recipe.pairs, sizes, training.weights
    )
    batches = training.stream(trainer, make)
    finished = trainer.train(batches, DescriptorStep(recipe, training.device), recipe.samples, DESCRIPTORS)
    return training.save(trainer, dict(recipe.network), SIZE, finished)


def _maker(
    bank: ViewBank,
    backgrounds: Tensor,
    crops: CropConfig,
    pairs: PairConfig,
    sizes: tuple[Tensor, Tensor, Tensor],
    weights: Tensor,
) -> Draw[DescriptorBatch]:
    source = PairSource(bank, backgrounds, crops, pairs, sizes, weights=weights)
    cells = SIZE // STRIDE

    def draw(seed: int, samples: int) -> DescriptorBatch:
        source.generator.manual_seed(seed)
        batch = source.pair_batch(samples)
        color, mask = batch.rendered[:, :3], batch.rendered[:, 6:]
        return DescriptorBatch(
            batch.observed,
            on_grey(color, mask),
            F.adaptive_avg_pool2d(batch.mask_visible[:, None].float(), cells)[:, 0],
            F.adaptive_avg_pool2d(mask.float(), cells)[:, 0],
            batch.object_index,
        )

    return draw


TRIAL = Trial(
    {
        **TINY,
        "samples": 64,
        "network": {"encoder": "own", "widths": [8, 8, 8], "blocks": [1, 1, 1], "channels": 8, "hidden": 8},
    }
)
