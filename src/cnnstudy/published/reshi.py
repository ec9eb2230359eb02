"""Reshi et al. 2021 (doi 10.1155/2021/6621607) on COVID-19 in chest X-rays, and the course report's reproduction."""

from itertools import pairwise
from math import sqrt

from cnnstudy.evaluation import results
from cnnstudy.published.paper import Paper
from cnnstudy.published.verdicts import (
    Claim,
    Findings,
    absent,
    beats,
    direction,
    find_pair,
    half_width,
    in_words,
    learnt,
    minus,
    series,
)

DEPTHS = ("xray-depth1", "xray-depth2", "xray-depth3", "xray-depth4", "xray-aug4", "xray-depth6")
LEVELS = ("xray-aug0", "xray-aug1", "xray-aug2", "xray-aug3", "xray-aug4")


def claims(findings: Findings) -> list[Claim]:
    """Return the claims about chest X-rays, in the order of the report."""
    return [
        _augmentation_raises(findings),
        _every_level_helps(findings),
        _paper_augmentation(findings),
        _main_model(findings),
        _deeper_overfits(findings),
        _middle_depth(findings),
        _paper_depth(findings),
    ]


def _augmentation_raises(findings: Findings) -> Claim:
    values = [findings.published(f"xray-aug{level}", "test", table=str(8 + level)) for level in range(1, 5)]
    published = (
        f"{series(values, 2)} at levels 1 to 4; but at levels 1 to 3 every X-ray got the same prediction, "
        f"and at level 4 training gives {findings.published('xray-aug4', 'train_augmented', table='12'):.2f}"
    )
    verdict, ours = direction(findings, "xray-aug4", "xray-aug1")
    if findings.has(*LEVELS):
        modes = _both_modes(findings, LEVELS)
        ours = f"{modes}. {ours}"
        # If level 1 is above 0.50 here, too few images cannot explain the report's 0.50.
        first, last = (findings.split(run, "base", "test") for run in ("xray-aug1", "xray-aug4"))
        if first["accuracy_low"] > values[0] or last["accuracy_high"] < values[-1]:
            verdict, ours = learnt(findings, "does not hold", modes, ["xray-aug1", "xray-aug4"])
    says = "Augmentation takes accuracy from 0.50 to 0.95."
    return Claim("figure 16", says, published, ours, verdict)


def _every_level_helps(findings: Findings) -> Claim:
    verdict, ours = absent(findings, *LEVELS)
    if findings.has(*LEVELS):
        steps = [find_pair(findings, later, earlier) for earlier, later in pairwise(LEVELS)]
        falls = [pair for pair in steps if pair and pair.significant and pair.difference < 0]
        whole = find_pair(findings, LEVELS[-1], LEVELS[0])
        rises = all(pair and pair.difference >= 0 for pair in steps)
        ours = "; ".join(in_words(pair) for pair in [whole, *steps] if pair)
        ours += ". The claim holds if no step falls and the last level is significantly above the first."
        holds = bool(rises and whole and whole.significant and whole.difference > 0)
        verdict = "does not hold" if falls else "holds" if holds else "cannot tell"
        verdict, ours = learnt(findings, verdict, ours, list(LEVELS))
    says = "The more augmentation, the better the net generalises."
    return Claim("under figure 16", says, "0.50, 0.50, 0.50, 0.95: a single rise", ours, verdict)


def _paper_augmentation(findings: Findings) -> Claim:
    verdict, ours = direction(findings, "xray-aug4", "xray-aug0")
    steps = findings.numbers[findings.numbers["table"] == "accuracy by preprocessing"]["value"].tolist()
    says = "Augmentation raises accuracy (Reshi et al.)."
    return Claim("figure 16", says, f"{series(steps, 2)}: raw, balanced, cleaned, augmented", ours, verdict)


def _main_model(findings: Findings) -> Claim:
    layers = findings.layers
    tables = [
        layers[layers["table"] == table].drop(columns=["table", "run"]).to_numpy().tolist() for table in ("8", "17")
    ]
    convolutions = sum(row[2] == "Conv2D" for row in tables[0])
    same = "row for row the same as" if tables[0] == tables[1] else "not the same as"
    published = f"table 8 has {convolutions} convolution layers and is {same} table 17"
    counts = [
        f"{run} {int(results.read_layers(run)['parameters'].sum()):,}"
        for run in ("xray-aug4", "xray-depth6")
        if findings.has(run)
    ]
    verdict, ours = absent(findings, "xray-aug4")
    if counts:
        verdict, ours = "does not hold", f"parameters: {', '.join(counts)}; the main model matches the five-layer net"
    return Claim("3-5", "The main model has six layers.", published, ours, verdict)


def _deeper_overfits(findings: Findings) -> Claim:
    logs = [f"log under table {table}" for table in range(13, 18)]
    in_training, in_test = (
        [findings.published(run, split, table=log) for run, log in zip(DEPTHS, logs, strict=False)]
        for split in ("train_augmented", "test")
    )
    published = f"training falls with depth: {series(in_training, 2)}; test {series(in_test, 2)} at 1 to 5 layers"
    verdict, ours = absent(findings, *DEPTHS)
    if findings.has(*DEPTHS):
        splits = [(findings.split(run, "base", "train"), findings.split(run, "base", "test")) for run in DEPTHS]
        gaps = [train["accuracy"] - test["accuracy"] for train, test in splits]
        ours = f"training minus test: {series(gaps, 3)} at 1 to 6 layers"
        chance = sqrt(half_width(splits[0][1]) ** 2 + half_width(splits[-1][1]) ** 2)
        apart = gaps[-1] - gaps[0]
        verdict = "cannot tell" if abs(apart) <= chance else "holds" if apart > 0 else "does not hold"
        verdict, ours = learnt(findings, verdict, ours, [DEPTHS[0], DEPTHS[-1]], "train", "test")
    return Claim("3-5", "With more layers the net overfits sooner.", published, minus(ours), verdict)


def _middle_depth(findings: Findings) -> Claim:
    logs = {run: f"log under table {table}" for run, table in zip(DEPTHS, range(13, 18), strict=False)}
    best = sorted(logs, key=lambda run: -findings.published(run, "test", table=logs[run]))[:2]
    published = "the best are " + " and ".join(
        f"{run} with {findings.published(run, 'test', table=logs[run]):.2f}" for run in best
    )
    verdict, ours = absent(findings, *DEPTHS)
    if findings.has(*DEPTHS):
        ends, middle = (DEPTHS[0], DEPTHS[-1]), DEPTHS[1:-1]
        accuracy = {run: findings.split(run, "base", "test")["accuracy"] for run in DEPTHS}
        top = max(middle, key=lambda run: accuracy[run])
        pairs = [beats(findings, top, end) for end in ends]
        losses = [any(beats(findings, end, run) == "holds" for end in ends) for run in middle]
        shown = [pair for end in ends if (pair := find_pair(findings, top, end))]
        ours = "; ".join([f"{series(list(accuracy.values()), 3)} at 1 to 6 layers", *map(in_words, shown)])
        verdict = "holds" if pairs == ["holds", "holds"] else "does not hold" if all(losses) else "cannot tell"
        verdict, ours = learnt(findings, verdict, ours, list(DEPTHS))
    says = "Neither few layers nor many are best: the simple nets can't learn the patterns, the deep ones overfit."
    return Claim("3-5", says, published, ours, verdict)


def _paper_depth(findings: Findings) -> Claim:
    table = findings.numbers[(findings.numbers["source"] == "reshi_2021") & (findings.numbers["split"] == "test")]
    values = [float(table[table["run"] == run]["value"].item()) for run in DEPTHS]
    verdict, ours = direction(findings, "xray-depth6", "xray-depth1")
    falls = [pair for pair in (find_pair(findings, later, earlier) for earlier, later in pairwise(DEPTHS)) if pair]
    if verdict == "holds" and any(pair.significant and pair.difference < 0 for pair in falls):
        verdict = "does not hold"
    if findings.has(*DEPTHS):
        verdict, ours = learnt(findings, verdict, ours, list(DEPTHS))
    says = "Accuracy rises with depth (Reshi et al.)."
    return Claim("figure 22", says, f"{series(values, 3)} at 1 to 6 layers", ours, verdict)


def _both_modes(findings: Findings, runs: tuple[str, ...]) -> str:
    texts = []
    for mode in ("recalibrated", "moving"):
        splits = [findings.split(run, "base", "test") for run in runs]
        constant = sum(bool(each[f"constant_{mode}"]) for each in splits)
        one = f", {constant} of {len(runs)} with one class for every image" if constant else ""
        texts.append(f"{mode} statistics: {series([each[f'accuracy_{mode}'] for each in splits], 3)}{one}")
    return "; ".join(texts)


PAPER = Paper(
    title="Reshi et al.",
    source="reshi_2021",
    files=("report_xray.csv", "reshi_2021.csv"),
    classes=("normal", "covid"),
    split="test",
    note="The report does not say which class it codes as 1. Accuracy is on the test X-rays; the report's training "
    "accuracy is on the augmented ones.",
    doubtful=("9", "10", "11", "12", "log under table 17"),
    claims=claims,
    ablations={
        "augmentation": {level: str(8 + level) for level in range(1, 5)},
        "depth": {layers: f"log under table {12 + layers}" for layers in range(1, 6)},
    },
    beside_ablations=("depth",),
)
