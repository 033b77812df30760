"""Settings of finetuning that had other names in fairlit 0.1.0."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.cli import LightningArgumentParser

from fairlit.commands.renaming import RenamedKeys, RenamingParser

_OF_THE_MODEL = {
    "detection.min_face_size": "detection.min_size",
    "detection.enlarge": "detection.scale",
    "detection.selection": "faces",
    "originals": "reference_images",
    "gradient.last_calls": "gradient.last_evaluations",
    "preservation.factor1": "preservation.image_loss_scale",
    "preservation.factor2": "preservation.face_gradient_scale",
}
# On the command line `init_args` may be left out.
TRAINING = RenamedKeys(
    renamed={
        f"{model}.{old}": f"{model}.{new}"
        for model in ("model.init_args", "model")
        for old, new in _OF_THE_MODEL.items()
    }
)


class RenamingLightningParser(RenamingParser, LightningArgumentParser):
    """Lightning's parser, which understands old names of fairlit's settings."""

    renamed_keys = TRAINING

    def dump(self, *args: Any, **kwargs: Any) -> str:
        """Returns a config as text; the parser of a whole command line has checked it when it parsed it."""
        if self._subcommands_action is not None:  # checking it again takes a sixth of the time of a short run
            kwargs["skip_validation"] = True
        return super().dump(*args, **kwargs)
