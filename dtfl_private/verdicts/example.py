"""One victim of an audit as its report shows it: the true image, what an attack made of it, and a guess."""

from typing import Annotated, Literal

from pydantic import Field

from dtfl_private.leakage.results.result import Finite, Name, Positive
from dtfl_private.verdicts.strict import Strict

View = Literal["true", "rebuilt", "guess"]
VIEWS: tuple[View, ...] = ("true", "rebuilt", "guess")


class Example(Strict):
    """A victim that is shown; its three pictures are files next to audit.json.

    Attributes:
        tier: client modules m.
        place: in the row, from 1 on; the first is the victim that was rebuilt best.
        attack: that rebuilt it.
        label: name of its class; None where the data set names none.
        ssim: of the reconstruction with the truth.
        psnr: likewise, in dB.
        victims: among how many it was chosen.
    """

    tier: Positive
    place: Annotated[int, Field(ge=1, le=100)]
    attack: Name
    label: Name | None = None
    ssim: Finite
    psnr: Finite
    victims: Positive

    def file(self, view: View) -> str:
        """Return the name of a picture's file, in the folder of the audit's examples."""
        return f"tier-{self.tier}-{self.place}-{view}.png"
