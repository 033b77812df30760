"""How much work a denoiser does, counted in samples."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class SampleCounter:
    """Counts the samples that go through a module.

    Args:
        module: its first positional input and its output have the samples along their first axis. A block that is
            recomputed for gradient checkpointing counts again; the denoiser around it does not.

    Attributes:
        forwards: samples that went in.
        backwards: samples whose gradient came back.
    """

    def __init__(self, module: nn.Module) -> None:
        self.forwards = self.backwards = 0
        module.register_forward_pre_hook(self._note_forward)  # a checkpoint stops before the end of what it repeats
        module.register_forward_hook(self._wait_for_backward)

    @property
    def evaluations(self) -> int:
        """Both together."""
        return self.forwards + self.backwards

    def reset(self) -> None:
        """Count from nothing."""
        self.forwards = self.backwards = 0

    def _note_forward(self, module: nn.Module, inputs: Any) -> None:
        self.forwards += len(inputs[0])

    def _wait_for_backward(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        if output.requires_grad:
            output.register_hook(self._note_backward)

    def _note_backward(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)
