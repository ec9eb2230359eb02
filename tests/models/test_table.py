"""Layer tables against the report's and the papers' parameter counts, at the report's input sizes."""

from typing import Any

import pytest
from nets import table

from cnnstudy.training import pipeline


def counts(net: str, classes: int, **options: Any) -> tuple[int, int]:
    rows = table(net, classes, **options)
    return int(rows["parameters"].sum()), int(rows["trainable"].sum())


@pytest.mark.parametrize(
    ("net", "classes", "total", "trainable"),
    [
        ("alexnet", 8, 3_464_952, 3_460_120),
        ("vggnet", 8, 3_753_016, 3_747_448),
        ("mobilenet", 8, 3_237_064, 3_215_176),
        ("alexnet", 2, 3_458_802, 3_453_970),
        ("vggnet", 2, 3_746_866, 3_741_298),
        ("mobilenet", 2, 3_230_914, 3_209_026),
    ],
)
def test_face_nets_have_the_published_counts(net: str, classes: int, total: int, trainable: int) -> None:
    assert counts(net, classes) == (total, trainable)


@pytest.mark.parametrize(
    ("depth", "total", "trainable"),
    [
        (1, 184_457_217, 184_455_553),
        (2, 89_930_369, 89_928_449),
        (3, 42_975_105, 42_972_673),
        (4, 22_923_649, 22_920_193),
        (5, 8_246_145, 8_241_665),
        (6, 7_462_273, 7_456_769),
    ],
)
def test_xray_nets_have_the_reports_counts(depth: int, total: int, trainable: int) -> None:
    assert counts("xraynet", 2, depth=depth, widths="report") == (total, trainable)


@pytest.mark.parametrize(
    ("depth", "total"),
    [(1, 184_457_217), (2, 45_033_793), (3, 21_482_433), (4, 5_705_281), (5, 2_790_209), (6, 1_808_449)],
)
def test_xray_nets_have_reshis_counts(depth: int, total: int) -> None:
    assert counts("xraynet", 2, depth=depth, widths="reshi")[0] == total


def test_resnet18_has_the_counts_of_its_paper() -> None:
    """11,173,962 parameters for ten classes, with convolutions as shortcuts, in the net for images of 32 px."""
    assert counts("resnet18", 10, side=32)[1] == 11_173_962
    assert counts("resnet18", 10, side=32, width=0.5)[1] < 11_173_962 / 3.9


def test_alexnet_table_starts_and_ends_as_printed() -> None:
    rows = table("alexnet", 8)[["type", "shape", "parameters"]].to_numpy().tolist()
    assert rows[:5] == [
        ["Conv2D", "128x128x16", 3888],
        ["BatchNormalization", "128x128x16", 64],
        ["Activation", "128x128x16", 0],
        ["MaxPooling2D", "64x64x16", 0],
        ["GaussianDropout", "64x64x16", 0],
    ]
    assert rows[-5:] == [
        ["Dense", "1024", 1_048_576],
        ["BatchNormalization", "1024", 4096],
        ["Activation", "1024", 0],
        ["Dropout", "1024", 0],
        ["Dense", "8", 8200],
    ]


def test_xray_pooling_rounds_down_as_printed() -> None:
    rows = table("xraynet", 2, depth=5, widths="report")
    pooled = rows.loc[rows["type"] == "MaxPooling2D", "shape"]
    assert [int(shape.split("x")[0]) for shape in pooled] == [75, 37, 18, 9, 4]


def test_max_pooling_comes_before_batchnorm_in_the_xray_net() -> None:
    kinds = table("xraynet", 2, side=64, depth=1)["type"].tolist()
    assert kinds[:5] == ["Conv2D", "MaxPooling2D", "BatchNormalization", "Activation", "Dropout"]


def test_images_at_a_time_are_fewer_the_larger_they_are() -> None:
    found = []
    for side in (64, 150, 224, 384, 4096):
        rows = table("xraynet", 2, side=side, depth=6, widths="reshi")
        shapes = [tuple(map(int, shape.split("x"))) for shape in rows["shape"]]
        found.append(pipeline.images_at_a_time(shapes))
    assert found == [100, 36, 16, 5, 1]
