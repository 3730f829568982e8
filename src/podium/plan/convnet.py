"""Residual convolutional networks of the ResNet kind (arXiv 1512.03385 table 1, stride in the 3x3: "v1.5")."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution without bias and its batch norm; `size` is the output's height and width."""

    inputs: int
    outputs: int
    kernel: int
    size: int

    @property
    def parameters(self) -> int:
        return self.inputs * self.outputs * self.kernel**2 + 2 * self.outputs

    @property
    def multiply_adds(self) -> int:
        return self.inputs * self.outputs * self.kernel**2 * self.size**2

    @property
    def outputs_stored(self) -> int:
        """Numbers that come out, once per pass."""
        return self.outputs * self.size**2


@dataclass(frozen=True, slots=True)
class ConvNet:
    """A ResNet: `blocks` per stage, bottlenecks or pairs of 3x3."""

    name: str
    blocks: tuple[int, int, int, int]
    bottleneck: bool
    image: int = 224
    classes: int = 1000

    @property
    def features(self) -> int:
        return 2048 if self.bottleneck else 512

    def convolutions(self) -> list[Convolution]:
        """All of them, in order; shortcuts included."""
        size = self.image // 2
        layers = [Convolution(3, 64, 7, size)]
        size //= 2  # the pooling
        inputs = 64
        for stage, count in enumerate(self.blocks):
            width = 64 * 2**stage
            outputs = 4 * width if self.bottleneck else width
            for block in range(count):
                before = size
                if stage and not block:
                    size //= 2
                if self.bottleneck:
                    layers.append(Convolution(inputs, width, 1, before))
                    layers.append(Convolution(width, width, 3, size))
                    layers.append(Convolution(width, outputs, 1, size))
                else:
                    layers.append(Convolution(inputs, width, 3, size))
                    layers.append(Convolution(width, width, 3, size))
                if inputs != outputs or size != before:
                    layers.append(Convolution(inputs, outputs, 1, size))
                inputs = outputs
        return layers

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.convolutions()) + (self.features + 1) * self.classes

    @property
    def forward_flops(self) -> float:
        """Of one image, a multiply-add being two."""
        products = sum(layer.multiply_adds for layer in self.convolutions()) + self.features * self.classes
        return 2.0 * products

    @property
    def activations(self) -> int:
        """Numbers one image leaves for the backward pass: each convolution's output, and it normalised."""
        return 2 * sum(layer.outputs_stored for layer in self.convolutions())


CONVNETS = (
    ConvNet("resnet-18", (2, 2, 2, 2), bottleneck=False),
    ConvNet("resnet-34", (3, 4, 6, 3), bottleneck=False),
    ConvNet("resnet-50", (3, 4, 6, 3), bottleneck=True),
    ConvNet("resnet-101", (3, 4, 23, 3), bottleneck=True),
    ConvNet("resnet-152", (3, 8, 36, 3), bottleneck=True),
)
