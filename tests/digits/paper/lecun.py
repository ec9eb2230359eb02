"""LeCun et al. 1998 (doi 10.1109/5.726791): LeNet-5 on MNIST, with and without distorted training images."""

from cnnstudy.published.paper import Paper
from cnnstudy.published.reference import find_all
from cnnstudy.published.verdicts import Claim, Findings, direction, series


def claims(findings: Findings) -> list[Claim]:
    """Return what the paper says in words, with a verdict on our data."""
    published = series([number.value for number in find_all(findings.numbers, source="lecun_1998")], 4)
    verdict, ours = direction(findings, "digits-moved", "digits-plain")
    return [Claim("figure 9", "Distorted training images raise accuracy.", f"{published} on MNIST", ours, verdict)]


PAPER = Paper(
    title="LeCun et al.",
    source="lecun_1998",
    files=("lecun_1998.csv",),
    classes=tuple(f"digit-{number}" for number in range(10)),
    split="test",
    note="The published accuracies are on MNIST: 60,000 training images of 28 x 28 pixels, of other writers.",
    claims=claims,
)
