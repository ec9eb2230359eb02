"""The same net's training step in PyTorch, eager; a worker of bench/steps.py."""

import sys

import keras
import numpy as np
import steps
import tensorflow as tf
import torch
from torch import nn

from cnnstudy.models import assemble


class GaussianNoise(nn.Module):
    """Multiplies by noise of mean 1, as Keras's GaussianDropout."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.deviation = (rate / (1 - rate)) ** 0.5

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Multiply."""
        return inputs * (1 + self.deviation * torch.randn_like(inputs))


def build(model: keras.Model) -> nn.Sequential:
    """Return a sequential Keras model as PyTorch modules; the last activation is part of the loss."""
    return nn.Sequential(*(module for layer in model.layers for module in modules(layer, layer is model.layers[-1])))


def modules(layer: keras.Layer, is_last: bool) -> list[nn.Module]:
    """Return the PyTorch counterpart of a layer."""
    shape = layer.output.shape
    match type(layer).__name__:
        case "Conv2D":
            (side, stride), channels = (layer.kernel_size[0], layer.strides[0]), layer.kernel.shape[-2]
            return [nn.Conv2d(channels, layer.filters, side, stride, side // 2, bias=layer.use_bias)]
        case "DepthwiseConv2D":
            return [nn.Conv2d(shape[-1], shape[-1], 3, layer.strides[0], 1, groups=shape[-1], bias=False)]
        case "BatchNormalization":
            return [(nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(shape[-1])]
        case "Activation":
            return [nn.ReLU(inplace=True)]
        case "MaxPooling2D":
            return [nn.MaxPool2d(2, ceil_mode=layer.padding == "same")]
        case "Dropout":
            return [nn.Dropout(layer.rate)]
        case "GaussianDropout":
            return [GaussianNoise(layer.rate)]
        case "Flatten":
            return [nn.Flatten()]
        case "GlobalAveragePooling2D":
            return [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        case "Dense":
            made: list[nn.Module] = [nn.Linear(layer.kernel.shape[0], layer.units, bias=layer.use_bias)]
            return made if is_last or layer.activation.__name__ == "linear" else [*made, nn.ReLU(inplace=True)]
        case "InputLayer":
            return []
        case other:
            raise NotImplementedError(other)


def main(net: str, dtype: str, batch: str, threads: str, order: str) -> None:
    """Serve steps of a net in a precision and a memory format."""
    torch.set_num_threads(int(threads))
    torch.backends.cudnn.allow_tf32 = False  # as TensorFlow's is
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tf.config.set_visible_devices([], "GPU")  # TensorFlow describes the net, and leaves the device alone
    design, count = steps.design(net), int(batch)
    size = design.side
    form = torch.channels_last if order == "last" else torch.contiguous_format
    model = build(assemble.build_plain(design)).to(device, memory_format=form).train()
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
