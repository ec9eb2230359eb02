"""Layer tables against the report's and the papers' parameter counts, at the report's input sizes."""

import pytest

from cnnstudy.nets import specs


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
    assert specs.parameter_counts(specs.layers_of(net, classes), specs.REPORT_SIZE[net]) == (total, trainable)


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
    assert specs.parameter_counts(specs.layers_of("xraynet", 2, depth, "report"), 150) == (total, trainable)


@pytest.mark.parametrize(
    ("depth", "total"),
    [(1, 184_457_217), (2, 45_033_793), (3, 21_482_433), (4, 5_705_281), (5, 2_790_209), (6, 1_808_449)],
)
def test_xray_nets_have_reshis_counts(depth: int, total: int) -> None:
    assert specs.parameter_counts(specs.layers_of("xraynet", 2, depth, "reshi"), 150)[0] == total


def test_alexnet_table_starts_and_ends_as_printed() -> None:
    rows = specs.layer_table(specs.layers_of("alexnet", 8), 128)
    assert [(row.type, row.shape, row.parameters) for row in rows[:5]] == [
        ("Conv2D", (128, 128, 16), 3888),
        ("BatchNormalization", (128, 128, 16), 64),
        ("Activation", (128, 128, 16), 0),
        ("MaxPooling2D", (64, 64, 16), 0),
        ("GaussianDropout", (64, 64, 16), 0),
    ]
    assert [(row.type, row.shape, row.parameters) for row in rows[-5:]] == [
        ("Dense", (1024,), 1_048_576),
        ("BatchNormalization", (1024,), 4096),
        ("Activation", (1024,), 0),
        ("Dropout", (1024,), 0),
        ("Dense", (8,), 8200),
    ]


def test_xray_pooling_rounds_down_as_printed() -> None:
    rows = specs.layer_table(specs.layers_of("xraynet", 2, 5, "report"), 150)
    assert [row.shape[0] for row in rows if row.type == "MaxPooling2D"] == [75, 37, 18, 9, 4]


def test_another_dropout_changes_rates_and_nothing_else() -> None:
    layers = specs.layers_of("alexnet", 8)
    halved = specs.with_dropout(layers, 0.5)
    assert specs.layer_table(halved, 128) == specs.layer_table(layers, 128)
    noise = (specs.Dropout, specs.GaussianDropout)
    rates = [(one.rate, other.rate) for one, other in zip(layers, halved, strict=True)
             if isinstance(one, noise) and isinstance(other, noise)]  # fmt: skip
    assert len(rates) == 7
    assert all(other == one / 2 for one, other in rates)
    assert specs.with_dropout(layers, 1.0) == layers


def test_a_dropout_before_the_head_adds_a_row_and_no_parameters() -> None:
    layers = specs.layers_of("mobilenet", 8)
    noisy = specs.with_head_dropout(layers, 0.3)
    rows = [(row.type, row.shape) for row in specs.layer_table(noisy, 128)]
    assert rows[-3:] == [("GlobalAveragePooling2D", (1024,)), ("Dropout", (1024,)), ("Dense", (8,))]
    assert specs.parameter_counts(noisy, 128) == specs.parameter_counts(layers, 128)
    assert specs.with_head_dropout(layers, None) == layers


@pytest.mark.parametrize(
    ("net", "depth", "first"),
    [
        ("alexnet", None, specs.Flatten), ("vggnet", None, specs.Flatten),
        ("mobilenet", None, specs.GlobalAveragePool), ("xraynet", 3, specs.Flatten),
    ],
)  # fmt: skip
def test_the_head_begins_where_the_maps_end(net: str, depth: int | None, first: type) -> None:
    layers = specs.layers_of(net, 2, depth, "reshi" if depth else None)
    assert isinstance(layers[specs.head_start(layers)], first)


def test_images_at_once_are_fewer_the_larger_they_are() -> None:
    layers = specs.layers_of("xraynet", 2, 6, "reshi")
    counts = [
        specs.images_at_once(row.shape for row in specs.layer_table(layers, size)) for size in (64, 150, 224, 384, 4096)
    ]
    assert counts == [100, 36, 16, 5, 1]
