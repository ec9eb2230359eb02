"""Serve training steps of a net in PyTorch, eager or compiled; a worker of bench/steps.py."""

import sys
from typing import Any

import numpy as np
import steps
import torch
from torch import nn


class GaussianNoise(nn.Module):
    """Multiplies by noise of mean 1, as Keras's GaussianDropout."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.deviation = (rate / (1 - rate)) ** 0.5

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Multiply."""
        return inputs * (1 + self.deviation * torch.randn_like(inputs))


def build(layers: list[Any]) -> nn.Sequential:
    """Return a sequential Keras model (see `steps.describe`) as PyTorch modules; the last activation is in the loss."""
    count = len(layers)
    return nn.Sequential(
        *(
            module
            for number, (kind, shape, kernel, config) in enumerate(layers, start=1)
            for module in modules(kind, shape, kernel, config, number == count)
        )
    )


def modules(kind: str, shape: list[int], kernel: list[int], config: dict[str, Any], is_last: bool) -> list[nn.Module]:
    """Return the PyTorch counterpart of a layer."""
    match kind:
        case "Conv2D":
            (side, _, channels, filters), stride = kernel, config["strides"][0]
            return [nn.Conv2d(channels, filters, side, stride, side // 2, bias=config["use_bias"])]
        case "DepthwiseConv2D":
            return [nn.Conv2d(shape[-1], shape[-1], 3, config["strides"][0], 1, groups=shape[-1], bias=False)]
        case "BatchNormalization":
            return [(nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(shape[-1])]
        case "Activation":
            return [nn.ReLU(inplace=True)]
        case "MaxPooling2D":
            return [nn.MaxPool2d(2, ceil_mode=config["padding"] == "same")]
        case "Dropout":
            return [nn.Dropout(config["rate"])]
        case "GaussianDropout":
            return [GaussianNoise(config["rate"])]
        case "Flatten":
            return [nn.Flatten()]
        case "GlobalAveragePooling2D":
            return [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        case "Dense":
            made: list[nn.Module] = [nn.Linear(*kernel, bias=config["use_bias"])]
            return made if is_last or config["activation"] == "linear" else [*made, nn.ReLU(inplace=True)]
        case "InputLayer":
            return []
        case other:
            raise NotImplementedError(other)


def main(net: str, dtype: str, batch: str, threads: str, order: str) -> None:
    """Serve steps of a net in a precision, with channels first, last, or last and compiled."""
    torch.set_num_threads(int(threads))
    # By default PyTorch uses TF32 for convolutions, but not for other products.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    count, (_, size, _) = int(batch), steps.NETS[net]
    form = torch.contiguous_format if order == "first" else torch.channels_last
    model = build(steps.described(net)).to(device, memory_format=form).train()
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.random((count, 3, size, size), np.float32)).to(device, memory_format=form)
    labels = torch.from_numpy(rng.integers(0, 2, count)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    run = torch.compile(model) if order == "compiled" else model

    def step() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16"):
            outputs = run(images)
        if net == "xraynet":
            loss = nn.functional.binary_cross_entropy_with_logits(outputs.float()[:, 0], labels.float())
        else:
            loss = nn.functional.cross_entropy(outputs.float(), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    side = 2048
    square = torch.randn(side, side)
    steps.serve(step, torch.Tensor.item, lambda: steps.peak_of(lambda: (square @ square)[0, 0].item(), side))


if __name__ == "__main__":
    main(*sys.argv[1:])
