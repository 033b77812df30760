"""The MTCNN cascade with facenet-pytorch's weights, batched from end to end.

Zhang et al., Joint Face Detection and Alignment using Multitask Cascaded Convolutional Networks, 2016
(arXiv 1604.02878). The weights are facenet-pytorch's and so are the numbers (a test compares the
two), but its own `detect_face` cuts boxes out in a Python loop and raises where no box, or a box outside the
image, reaches a stage; here both are ordinary.

Boxes in this file live in MTCNN's convention: xyxy in pixels of the image that it is given.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from fairlit.functional.boxes.geometry import intersect_boxes
from fairlit.functional.boxes.suppression import suppress_overlaps

PYRAMID_FACTOR = 0.709  # about 1/sqrt(2): each level halves the area, as in the paper
PROPOSAL_WINDOW = 12  # receptive field of the proposal network in pixels
PROPOSAL_STRIDE = 2
REFINE_SIZE = 24
OUTPUT_SIZE = 48
STRIP_PIXELS = 4 * 1024 * 1024  # of a pyramid level that the proposal network scans at once: bounds memory
NETWORK_BATCH = 1024  # boxes per forward of the refine and output networks: bounds memory


class Candidates(NamedTuple):
    """Boxes on their way through the cascade."""

    boxes: Tensor  # [B, 4] xyxy
    scores: Tensor  # [B]
    image_index: Tensor  # [B] int64

    def take(self, chosen: Tensor) -> Candidates:
        """The candidates at `chosen` (a mask or indices)."""
        return Candidates(self.boxes[chosen], self.scores[chosen], self.image_index[chosen])


def detect(
    images: Tensor,
    pnet: nn.Module,
    rnet: nn.Module,
    onet: nn.Module,
    min_face_size: float,
    thresholds: tuple[float, ...],
) -> tuple[Candidates, Tensor]:
    """Finds faces.

    Args:
        images: float [N, 3, H, W], RGB in [0, 1].
        pnet: Proposal network.
        rnet: Refinement network.
        onet: Output network.
        min_face_size: Smallest face side looked for, in pixels.
        thresholds: Least score that passes each of the three stages.

    Returns:
        Final candidates and their landmarks, float [F, 5, 2]: eyes, nose, mouth corners, as (x, y), left before right
        as the viewer sees them.
    """
    # the networks' input convention, with which resampling commutes; in place, as photographs have many pixels
    pixels = (images * 255.0).sub_(127.5).mul_(0.0078125)
    del images
    pixels = pixels.contiguous(memory_format=torch.channels_last)  # pooling is several times faster so on CPUs
    found = _propose(pixels, pnet, min_face_size, threshold=thresholds[0])
    if len(found.boxes) == 0:
        return found, pixels.new_zeros(0, 5, 2)
    area_table = _summed_area(pixels)
    found = _refine(area_table, found, rnet, threshold=thresholds[1])
    return _finish(area_table, found, onet, threshold=thresholds[2])


def pyramid_scales(height: int, width: int, min_face_size: float) -> list[float]:
    """Scales at which the proposal network looks, largest first; empty if the image is smaller than a face."""
    scale = PROPOSAL_WINDOW / min_face_size
    shortest = min(height, width) * scale
    scales = []
    while shortest >= PROPOSAL_WINDOW:
        scales.append(scale)
        scale *= PYRAMID_FACTOR
        shortest *= PYRAMID_FACTOR
    return scales


def _propose(pixels: Tensor, pnet: nn.Module, min_face_size: float, *, threshold: float) -> Candidates:
    """First stage: a fully convolutional scan over an image pyramid."""
    height, width = pixels.shape[-2:]
    levels = [
        _propose_at(pixels, scale, pnet, threshold=threshold)
        for scale in (pyramid_scales(height, width, min_face_size) if len(pixels) else [])
    ]
    if not levels:
        return Candidates(
            pixels.new_zeros(0, 4), pixels.new_zeros(0), torch.zeros(0, dtype=torch.long).to(pixels.device)
        )
    found = Candidates(*(torch.cat(parts) for parts in zip(*(level for level, _ in levels), strict=True)))
    offsets = torch.cat([offset for _, offset in levels])
    keep = suppress_overlaps(*found, threshold=0.7)
    found, offsets = found.take(keep), offsets[keep]
    sides = (found.boxes[:, 2:] - found.boxes[:, :2]).repeat(1, 2)
    return found._replace(boxes=_squared(found.boxes + offsets * sides))


def _propose_at(pixels: Tensor, scale: float, pnet: nn.Module, *, threshold: float) -> tuple[Candidates, Tensor]:
    """One pyramid level: windows above the threshold after suppression, and their regression offsets [B, 4]."""
    height, width = pixels.shape[-2:]
    size = (int(height * scale + 1), int(width * scale + 1))
    regression, probabilities = _in_strips(pnet, functional.interpolate(pixels, size=size, mode="area"))
    scores = probabilities[:, 1]
    image_index, row, column = (scores >= threshold).nonzero(as_tuple=True)
    corner = torch.stack([column, row], dim=1).to(pixels.dtype) * PROPOSAL_STRIDE
    boxes = torch.cat([((corner + 1) / scale).floor(), ((corner + PROPOSAL_WINDOW) / scale).floor()], dim=1)
    found = Candidates(boxes, scores[image_index, row, column], image_index)
    offsets = regression[image_index, :, row, column]
    keep = suppress_overlaps(*found, threshold=0.5)
    return found.take(keep), offsets[keep]


def _in_strips(pnet: nn.Module, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """What the proposal network says of a pyramid level, strip by strip where its images are large."""
    height, width = pixels.shape[-2:]
    if height * width <= STRIP_PIXELS:
        regression, probabilities = pnet(pixels)
        return regression, probabilities
    end = PROPOSAL_STRIDE * ((height + 1) // 2 - 5)  # of the windows' first rows; an odd last row has its own window
    rows = PROPOSAL_STRIDE * max(1, STRIP_PIXELS // (PROPOSAL_STRIDE * width * len(pixels)))
    below = PROPOSAL_WINDOW - PROPOSAL_STRIDE
    strips = [
        pnet(pixels[:, :, top : height if top + rows >= end else top + rows + below]) for top in range(0, end, rows)
    ]
    regression, probabilities = (torch.cat(parts, dim=2) for parts in zip(*strips, strict=True))
    return regression, probabilities


def _refine(area_table: Tensor, found: Candidates, rnet: nn.Module, *, threshold: float) -> Candidates:
    """Second stage: score every proposal at 24 px, move and square what is left."""
    found, patches = _patches(area_table, found, REFINE_SIZE)
    regression, probabilities = _in_batches(rnet, patches)
    passed = probabilities[:, 1] > threshold
    found = found._replace(scores=probabilities[:, 1]).take(passed)
    keep = suppress_overlaps(*found, threshold=0.7)
    found = found.take(keep)
    return found._replace(boxes=_squared(_regressed(found.boxes, regression[passed][keep])))


def _finish(area_table: Tensor, found: Candidates, onet: nn.Module, *, threshold: float) -> tuple[Candidates, Tensor]:
    """Third stage: score at 48 px, move the boxes, place the landmarks."""
    found, patches = _patches(area_table, found, OUTPUT_SIZE)
    regression, points, probabilities = _in_batches(onet, patches)
    passed = probabilities[:, 1] > threshold
    found = found._replace(scores=probabilities[:, 1]).take(passed)
    sides = found.boxes[:, 2:] - found.boxes[:, :2] + 1
    fractions = points[passed].unflatten(1, (2, 5)).transpose(1, 2)  # the network gives five x, then five y
    landmarks = found.boxes[:, None, :2] + fractions * sides[:, None] - 1
    found = found._replace(boxes=_regressed(found.boxes, regression[passed]))
    keep = suppress_overlaps(*found, threshold=0.7, overlap=_shared_part)
    return found.take(keep), landmarks[keep]


def _squared(boxes: Tensor) -> Tensor:
    """Boxes grown about their centres to squares of the longer side."""
    centre, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    half = sides.amax(dim=1, keepdim=True) / 2
    return torch.cat([centre - half, centre + half], dim=1)


def _regressed(boxes: Tensor, offsets: Tensor) -> Tensor:
    """Boxes moved by offsets in units of their own sides, which MTCNN counts in whole pixels, ends included."""
    return boxes + offsets * (boxes[:, 2:] - boxes[:, :2] + 1).repeat(1, 2)


def _in_batches(network: nn.Module, patches: Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.cat(parts) for parts in zip(*map(network, patches.split(NETWORK_BATCH)), strict=True))


def _summed_area(pixels: Tensor) -> Tensor:
    """Summed-area table [N, H + 1, W + 1, 3]: float64, for a difference of large sums is taken later."""
    table = pixels.new_zeros(len(pixels), pixels.shape[2] + 1, pixels.shape[3] + 1, 3, dtype=torch.float64)
    sums = table[:, 1:, 1:]
    sums.copy_(pixels.permute(0, 2, 3, 1)).cumsum_(dim=1).cumsum_(dim=2)
    return table


def _patches(area_table: Tensor, found: Candidates, size: int) -> tuple[Candidates, Tensor]:
    """Cuts every box out of its image and resizes it to `size` by area averaging.

    Returns:
        The candidates that overlap their image at all, and their patches, float32 [B, 3, size, size].
    """
    height, width = area_table.shape[1] - 1, area_table.shape[2] - 1
    corners = found.boxes.trunc().long()
    low = corners[:, :2].clamp(min=1) - 1  # MTCNN counts pixels from 1, ends included
    high = torch.minimum(corners[:, 2:], corners.new_tensor([width, height]))
    visible = (high > low).all(dim=1)
    found, low, high = found.take(visible), low[visible], high[visible]
    left, right = _bins(low[:, 0], high[:, 0], size)
    top, bottom = _bins(low[:, 1], high[:, 1], size)
    flat = area_table.flatten(0, 2)
    rows_above = (found.image_index[:, None] * (height + 1) + top) * (width + 1)
    rows_below = (found.image_index[:, None] * (height + 1) + bottom) * (width + 1)

    def corner(rows: Tensor, columns: Tensor) -> Tensor:
        index = rows[:, :, None] + columns[:, None, :]
        return flat.index_select(0, index.flatten()).unflatten(0, index.shape)

    totals = corner(rows_below, right) - corner(rows_below, left) - corner(rows_above, right) + corner(rows_above, left)
    counts = (bottom - top)[:, :, None] * (right - left)[:, None, :]
    return found, (totals / counts[..., None]).permute(0, 3, 1, 2).float()


def _bins(low: Tensor, high: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Edges [B, size] of the pixel ranges that area interpolation averages along one axis."""
    index, length = torch.arange(size, device=low.device), (high - low)[:, None]
    start = (index * length).div(size, rounding_mode="floor")
    end = -(-(index + 1) * length).div(size, rounding_mode="floor")
    return low[:, None] + start, low[:, None] + end


def _shared_part(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over the smaller area [F, G] of boxes, ends included: 1 for a box inside another."""
    grown = first.new_tensor([0.0, 0.0, 1.0, 1.0])
    first, second = first + grown, second + grown
    common = intersect_boxes(first[:, None], second[None])
    return _area(common) / torch.minimum(_area(first)[:, None], _area(second)[None])


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)
