"""A network trained on auxiliary data turns smashed data back into images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from dtfl_private.attacking.base import AttackFacts, Reconstruction, Target, name_of
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.decoder_training import NORMAL_STEPS, DecoderTraining
from dtfl_private.attacks.shared.decoders_by_download import decoded_by, trained_decoders
from dtfl_private.attacks.shared.inverse_network import map_shape


@dataclass(frozen=True, kw_only=True)
class Decoder(Reconstruction):
    """Train an inverse network g(z, y) on auxiliary images, sent through the client's own program, and apply it.

    The inverse network of He, Zhang and Lee 2019 (ACSAC, section 5), where the weights are known, so that nobody need
    be asked: batches of the victims' size go through the known client half and the defenses' own samplers, with fresh
    draws. Published, for their CIFAR-10 network after convolutions 1, 4 and 6, with auxiliary data of the same
    distribution: PSNR 49.0, 19.4 and 14.0 dB, SSIM 0.999, 0.680 and 0.220 (model ``he-cnn``).

    Where its error on auxiliary validation images, by the loss below, is not below that of the mean image or of the
    mean of the class that was sent, the better of these is returned, bit for bit.

    Attributes:
        size: of the network; "best" trains all three and takes the best on validation images.
        steps: of training, of 32 images each; 0 for as many as the effort allows.
        lr: first learning rate of Adam; falls as a half cosine.
        ssim: weight of 1 - SSIM in the loss, whose first term is the squared error.
        perceptual: weight of the distance between the client half's activations of guess and image, relative to the
            latter's; there are no pretrained features here.
        varied: learn from variations of the auxiliary images (moved, turned, resized, mixed) too.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "smashed", "auxiliary-data"}),
        recipe="inverse network trained on auxiliary images sent through the known client half",
        source="He et al. 2019, ACSAC",
        amortised=True,
    )
    normal_steps: ClassVar[Mapping[str, int]] = {"steps": NORMAL_STEPS}

    size: Literal["small", "medium", "large", "best"] = "medium"
    steps: Annotated[int, Field(ge=0)] = 0
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 3e-3
    ssim: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    perceptual: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    varied: bool = True

    def check(self, target: Target) -> None:
        """Refuse what is no image, and activations that are no map."""
        super().check(target)
        map_shape(target.cut_shape, name_of(self))

    @property
    def training(self) -> DecoderTraining:
        """How its networks are trained."""
        return DecoderTraining(
            size=self.size,
            steps=self.budget["steps"],
            lr=self.lr,
            ssim=self.ssim,
            perceptual=self.perceptual,
            adaptive=self.adaptive,
            varied=self.varied,
        )

    def reconstruct(self, view: View) -> Tensor:
        """Return images (victims, C, H, W)."""
        return decoded_by(view, trained_decoders(view, self.training))
