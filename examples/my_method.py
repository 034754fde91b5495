"""A method of your own: grey-level images of a random contrast, so that neither colour nor contrast is relied on.

Put this file beside a study, which names it as ``my_method:RandomContrast``:

    transfer:
      methods: [plain, {name: "my_method:RandomContrast", options: {lowest: 0.2}}]
"""

import torch

from alignment.transfer import Method


class RandomContrast(Method):
    """Grey images around their mean, at a contrast drawn for each between ``lowest`` and 1."""

    def __init__(self, lowest: float = 0.3) -> None:
        super().__init__()
        self.lowest = lowest

    def augment(self, images: torch.Tensor) -> torch.Tensor:
        """Return changed images; torch's generator is seeded by the training."""
        grey = images.mean(dim=1, keepdim=True).expand_as(images)
        mean = grey.mean(dim=(2, 3), keepdim=True)
        drawn = torch.rand(len(images), 1, 1, 1, device=images.device)
        return mean + (self.lowest + (1 - self.lowest) * drawn) * (grey - mean)
