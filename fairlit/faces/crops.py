"""Square crops of faces, differentiable with respect to the images, for all faces of a batch at once.

Both kinds of crop sample their image through an affine grid. Where a crop shrinks its image, plain bilinear sampling
would skip pixels: such a crop is sampled at a whole multiple of its size (at least one sample a pixel) and averaged
down. The multiple depends on the face alone, so a crop does not depend on what else is in the batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from fairlit.faces.detector import Faces
from fairlit.functional.boxes.geometry import aligned_grid, crop_grid, expand_boxes, similarity_transform, square_boxes
from fairlit.pictures.batches import images_at_once

# Where the eyes, the nose and the mouth corners of an aligned face lie, (x, y) as shares of the side. Positions of the
# 112 x 112 crops of Deng et al., ArcFace, CVPR 2019, the layout that face-recognition networks commonly expect.
FIVE_POINT_TEMPLATE = (
    (38.2946 / 112, 51.6963 / 112),
    (73.5318 / 112, 51.5014 / 112),
    (56.0252 / 112, 71.7366 / 112),
    (41.5493 / 112, 92.3655 / 112),
    (70.7299 / 112, 92.2041 / 112),
)
# Where the eyes of dlib's face chips lie without padding, (x, y) as shares of the side: the middles of the eyes'
# corners in the mean face of dlib's `get_face_chip_details`. FairFace's images are such chips, padded by 0.25 or 1.25.
DLIB_CHIP_TEMPLATE = (
    ((0.1205750620789 + 0.3340850613712) / 2, (0.2137274526848 + 0.2290642403242) / 2),
    ((0.6460604764104 + 0.8595674595992) / 2, (0.2289674387677 + 0.2134981538014) / 2),
)
MAX_OVERSAMPLING = 16  # bounds memory; reached only where a crop shrinks its image sixteenfold

Template = tuple[tuple[float, float], ...]


def crop_faces(images: Tensor, faces: Faces, size: int, margin: float = 0.0) -> Tensor:
    """Cuts out the squares around face boxes.

    Args:
        images: float [N, 3, H, W].
        faces: F faces in these images.
        size: Side of the crops in pixels.
        margin: What is added on each side, as a share of the box; the result is then squared by its longer side.

    Returns:
        Crops, [F, 3, size, size]: float64 if the images are, else float32. Beyond the image its border is repeated.
    """
    boxes = square_boxes(expand_boxes(faces.boxes.to(_working_dtype(images)), 1 + 2 * margin))
    height, width = images.shape[-2:]

    def grid(chosen: Tensor, multiple: int) -> Tensor:
        return crop_grid(boxes[chosen], size * multiple, height, width=width)

    return _sample(images, faces.image_index, (boxes[:, 2] - boxes[:, 0]) / size, size, grid)


def align_faces(
    images: Tensor, faces: Faces, size: int, template: Template = FIVE_POINT_TEMPLATE, margin: float = 0.0
) -> Tensor:
    """Cuts faces out turned, scaled and shifted so that their landmarks lie on a template, as well as can be.

    Args:
        images: float [N, 3, H, W].
        faces: F faces in these images.
        size: Side of the crops in pixels.
        template: Where the landmarks belong, (x, y) as shares of the side; with fewer than five, the first of them.
        margin: What is added on each side, as a share of the template's side.

    Returns:
        Crops, [F, 3, size, size]: float64 if the images are, else float32. Beyond the image its border is repeated.
    """
    dtype = _working_dtype(images)
    shares = torch.tensor(template, dtype=dtype, device=images.device)
    target = (0.5 + (shares - 0.5) / (1 + 2 * margin)) * size
    transforms = similarity_transform(faces.landmarks[:, : len(template)].to(dtype), target)
    height, width = images.shape[-2:]

    def grid(chosen: Tensor, multiple: int) -> Tensor:
        return aligned_grid(transforms[chosen] * multiple, size * multiple, height, width=width)

    enlargement = transforms[:, :, 0].norm(dim=1)
    return _sample(images, faces.image_index, 1 / enlargement.clamp(min=1 / MAX_OVERSAMPLING), size, grid)


def _sample(
    images: Tensor, image_index: Tensor, shrinkage: Tensor, size: int, grid: Callable[[Tensor, int], Tensor]
) -> Tensor:
    """Samples every face at the multiple of `size` that its shrinkage asks for; one pass for each multiple in use.

    Args:
        images: [N, 3, H, W].
        image_index: int64 [F].
        shrinkage: [F], image pixels for each pixel of the crop.
        size: Side of the crops.
        grid: From indices of faces and a multiple to the sampling grid of these faces.

    Returns:
        [F, 3, size, size].
    """
    images = images.to(_working_dtype(images))
    if len(image_index) == 0:
        return images[:0, :, :1, :1].expand(0, images.shape[1], size, size)  # still part of the graph
    multiples = shrinkage.ceil().clamp(1, MAX_OVERSAMPLING).long()
    parts, order = [], []
    for multiple in multiples.unique().tolist():
        chosen = (multiples == multiple).nonzero()[:, 0]
        for some in chosen.split(images_at_once(images[0, 0].numel(), len(chosen))):  # each face copies its image
            sampled = functional.grid_sample(
                images[image_index[some]],
                grid(some, multiple),
                mode="bilinear",
                padding_mode="border",
                align_corners=False,
            )
            parts.append(functional.avg_pool2d(sampled, multiple) if multiple > 1 else sampled)
            order.append(some)
    return torch.cat(parts)[torch.cat(order).argsort()]


def _working_dtype(images: Tensor) -> torch.dtype:
    """Half precision cannot tell pixels of large images apart: at least float32."""
    return torch.promote_types(images.dtype, torch.float32)
