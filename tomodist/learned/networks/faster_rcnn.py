"""The paper's detector of boxes: Faster R-CNN, of torchvision.

torchvision is an extra. Its Linux package on PyPI is linked with CUDA and cannot be imported beside
a torch for the CPU alone (``operator torchvision::nms does not exist``), and what half-imports it
then breaks others. One rule: it is imported here alone, when such a network is asked for, and
never before.

The network's images stay as large as they are: torchvision's own enlarging of small images to 800
pixels is for photographs, and makes an image of 256 ten times as dear.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from tomodist.errors import InputError
from tomodist.learned.networks.residual import ResidualUNet
from tomodist.learned.networks.spec import N_ROWS

if TYPE_CHECKING:
    from torch import Tensor

SMALL = "residual-unet"
"""A backbone for CPUs: the encoder of the default network."""

BACKBONES = (SMALL, "resnet18", "resnet34", "resnet50", "resnet101")
_CHANNELS, _HIDDEN = 64, 256  # of the small one's pyramid, and of its box head
_ANCHOR = 16  # pixels: of the finest level, of stride 4; each coarser one has the double


class Torchvision(NamedTuple):
    """Parts of torchvision that are needed here."""

    detection: Any
    ops: Any


def torchvision_parts() -> Torchvision:
    """Import torchvision.

    Raises
    ------
    InputError
        If it is not installed, or cannot be used with this torch.
    """
    try:
        import torchvision
        from torchvision.models import detection
    # A build for another torch fails with RuntimeError: an operator does not exist.
    except (ImportError, RuntimeError) as error:
        raise InputError(
            "network faster-rcnn needs torchvision and a torch of the same build (PyPI's is for "
            f"CUDA), but importing it failed: {error}. Install both with `pip install "
            "tomodist[fasterrcnn]` on a machine with CUDA, or use the default network for boxes, "
            "residual-unet"
        ) from error
    return Torchvision(detection, torchvision.ops)


def is_available() -> bool:
    """Whether torchvision can be imported."""
    try:
        torchvision_parts()
    except InputError:
        return False
    return True


class FasterRCNN(nn.Module):
    """torchvision's Faster R-CNN with a feature pyramid, for images of one channel.

    Parameters
    ----------
    n_classes : int
        Without the background.
    backbone : str
        One of `BACKBONES`.
    pretrained : bool
        Begin with weights that torchvision provides, learnt from photographs; the two first stages
        and all norms stay as they are.
    min_size : int
        Images are resized such that their shorter side has so many pixels; 0 leaves them.
    download : bool
        Whether such weights are fetched; a network that gets its own does not need them.

    Raises
    ------
    InputError
        If torchvision cannot be used, or the backbone is unknown.
    """

    multiple = 1
    output_stride = 1
    radius = 256

    def __init__(
        self,
        n_classes: int,
        backbone: str = "resnet50",
        *,
        pretrained: bool = False,
        min_size: int = 0,
        download: bool = True,
    ) -> None:
        super().__init__()
        if backbone not in BACKBONES or (pretrained and backbone == SMALL):
            raise InputError(
                f"backbone {backbone!r}{' (pretrained)' * pretrained} is unknown; use one of "
                f"{', '.join(BACKBONES)} ({SMALL}: not pretrained)"
            )
        library = torchvision_parts()
        self.min_size, self.n_channels = min_size, 1 if backbone == SMALL else 3
        if backbone == SMALL:
            body: Any = SmallPyramid(library)
            heads = _small_heads(library, n_classes)
        else:
            body = _resnet(library, backbone, pretrained=pretrained, download=download)
            heads = {"num_classes": n_classes + 1}
        n_levels = 4 if backbone == SMALL else 5
        # One anchor size per level, doubling with its stride.
        sizes = tuple((_ANCHOR * 2**k,) for k in range(n_levels))
        anchors = library.detection.rpn.AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * n_levels)
        self.detector = library.detection.FasterRCNN(
            body,
            rpn_anchor_generator=anchors,
            image_mean=[0.0] * self.n_channels,
            image_std=[1.0] * self.n_channels,
            box_detections_per_img=N_ROWS,
            **heads,
        )

    def forward(self, images: Tensor, targets: list[dict[str, Tensor]] | None = None) -> Any:  # noqa: ANN401 -- losses, or rows
        """Losses in training, boxes else.

        Parameters
        ----------
        images : Tensor, shape (n, 1, height, width)
            Normalised.
        targets : list of dict, optional
            Per image ``boxes``, shape (n_boxes, 4), x0, y0, x1, y1 from the outer edge of the first
            pixel, and ``labels``, from 1 on: for training.

        Returns
        -------
        dict of str to Tensor, or Tensor, shape (n, N_ROWS, 6), float32
            Losses; or centre and size (y, x, height, width) in index coordinates, score, and number
            of the class. Rows of score 0 are none.
        """
        self._set_size(min(images.shape[2:]), max(images.shape[2:]))
        # Corners of boxes need more than the 8 bits of bfloat16.
        with torch.autocast(images.device.type, enabled=False):
            pictures = list(images.float().expand(-1, self.n_channels, -1, -1))
            if targets is not None:
                return self.detector(pictures, targets)
            return torch.stack([_rows(boxes) for boxes in self.detector(pictures)])

    def _set_size(self, shorter: int, longer: int) -> None:
        self.detector.transform.min_size = (self.min_size or shorter,)
        scale = (self.min_size or shorter) / shorter
        self.detector.transform.max_size = int(scale * longer) + 1


class SmallPyramid(nn.Module):
    """Feature maps of strides 4, 8, 16 and 32 on the encoder of the default network."""

    out_channels = _CHANNELS

    def __init__(self, library: Torchvision) -> None:
        super().__init__()
        whole = ResidualUNet(2, 1)
        self.stem, self.top, self.down = whole.stem, whole.top, whole.down
        widths = [block.first.conv.out_channels for block in whole.down]  # type: ignore[union-attr]
        self.pyramid = library.ops.FeaturePyramidNetwork(
            widths, _CHANNELS, library.ops.feature_pyramid_network.LastLevelMaxPool()
        )

    def forward(self, x: Tensor) -> Any:  # noqa: ANN401 -- an ordered dict
        """Maps by name, the finest first."""
        y, levels = self.top(nn.functional.relu(self.stem(x), inplace=True)), {}
        for k, block in enumerate(self.down):
            y = block(y)
            levels[str(k)] = y
        return self.pyramid(levels)


def _small_heads(library: Torchvision, n_classes: int) -> dict[str, Any]:
    parts = library.detection.faster_rcnn
    return {
        "num_classes": None,
        "box_head": parts.TwoMLPHead(_CHANNELS * 7**2, _HIDDEN),
        "box_predictor": parts.FastRCNNPredictor(_HIDDEN, n_classes + 1),
        "box_batch_size_per_image": 64,
        "rpn_pre_nms_top_n_train": 500,
        "rpn_post_nms_top_n_train": 500,
        "rpn_pre_nms_top_n_test": 500,
        "rpn_post_nms_top_n_test": 200,
    }


def _resnet(library: Torchvision, name: str, *, pretrained: bool, download: bool) -> Any:  # noqa: ANN401
    """A ResNet with its pyramid; norms are frozen where its weights are torchvision's."""
    norm = library.ops.FrozenBatchNorm2d if pretrained else nn.BatchNorm2d
    return library.detection.backbone_utils.resnet_fpn_backbone(
        backbone_name=name,
        weights="DEFAULT" if pretrained and download else None,
        norm_layer=norm,
        trainable_layers=3 if pretrained else 5,
    )


def _rows(detected: dict[str, Tensor]) -> Tensor:
    """Boxes of one image as rows; torchvision counts from the outer edge of the first pixel."""
    # x, y to y, x; torchvision's labels count from 1, with 0 the background.
    low, high = detected["boxes"][:, [1, 0]], detected["boxes"][:, [3, 2]]
    numbers = torch.stack([detected["scores"], detected["labels"] - 1.0], dim=1)
    rows = torch.cat([(low + high) / 2 - 0.5, high - low, numbers], dim=1)
    return nn.functional.pad(rows, (0, 0, 0, N_ROWS - len(rows)))
