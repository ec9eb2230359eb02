"""The same net's training step in PyTorch, eager; a worker of bench/steps.py."""

import sys

import numpy as np
import steps
import torch
from torch import nn

from cnnstudy.nets import specs


class GaussianNoise(nn.Module):
    """Multiplies by noise of mean 1, as Keras's GaussianDropout."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.deviation = (rate / (1 - rate)) ** 0.5

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Multiply."""
        return inputs * (1 + self.deviation * torch.randn_like(inputs))


def build(layers: tuple[specs.Layer, ...], size: int) -> nn.Sequential:
    """A layer table as PyTorch's modules; the last one's activation is the loss's."""
    made: list[nn.Module] = []
    shape: specs.Shape = (size, size, 3)
    for layer, row in zip(layers, specs.layer_table(layers, size), strict=True):
        channels = shape[-1]
        match layer:
            case specs.Conv(filters, kernel, stride, bias):
                made.append(nn.Conv2d(channels, filters, kernel, stride, kernel // 2, bias=bias))
            case specs.Depthwise(stride):
                made.append(nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False))
            case specs.BatchNorm():
                made.append((nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d)(channels))
            case specs.Relu():
                made.append(nn.ReLU(inplace=True))
            case specs.MaxPool(padding):
                made.append(nn.MaxPool2d(2, ceil_mode=padding == "same"))
            case specs.Dropout(rate):
                made.append(nn.Dropout(rate))
            case specs.GaussianDropout(rate):
                made.append(GaussianNoise(rate))
            case specs.Flatten():
                made.append(nn.Flatten())
            case specs.GlobalAveragePool():
                made.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
            case specs.Dense(units, bias, activation):
                made.append(nn.Linear(channels, units, bias=bias))
                if activation == "relu":
                    made.append(nn.ReLU(inplace=True))
        shape = row.shape
    return nn.Sequential(*made)


def main(net: str, dtype: str, batch: str, threads: str, order: str) -> None:
    """Serve steps of a net in a precision and a memory format."""
    torch.set_num_threads(int(threads))
    torch.backends.cudnn.allow_tf32 = False  # as TensorFlow's is
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size, count = specs.REPORT_SIZE[net], int(batch)
    layers = specs.layers_of(net, 2, 5, "report") if net == "xraynet" else specs.layers_of(net, 8)
    form = torch.channels_last if order == "last" else torch.contiguous_format
    model = build(layers, size).to(device, memory_format=form).train()
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.random((count, 3, size, size), np.float32)).to(device, memory_format=form)
    labels = torch.from_numpy(rng.integers(0, 2, count)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16"):
            outputs = model(images)
        if net == "xraynet":
            loss = nn.functional.binary_cross_entropy_with_logits(outputs.float()[:, 0], labels.float())
        else:
            loss = nn.functional.cross_entropy(outputs.float(), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    side = 2048
    square = torch.randn(side, side)
    steps.serve(step, lambda: steps.peak_of(lambda: (square @ square)[0, 0].item(), side))


if __name__ == "__main__":
    main(*sys.argv[1:])
