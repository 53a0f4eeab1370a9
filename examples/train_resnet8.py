"""Train the demo's ResNet-8 on Fashion-MNIST and export it as ONNX, with a held-out sample of the test set.

    apt-get install dataset-fashion-mnist
    pip install '.[train]'
    python examples/train_resnet8.py

About ten minutes on one core. The network: 3x3 convolutions, three residual stages of 16, 32 and 64 channels,
BatchNorm kept as nodes (folding it is the compiler's job), global average pooling, one linear layer.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

MEAN, STD = 0.2860, 0.3530
CLASSES = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
ASSETS = Path(__file__).parents[1] / "potluck" / "assets"


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.shortcut(x))


class ResNet8(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem, self.bn = nn.Conv2d(1, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.stages = nn.ModuleList(
            [Residual(width, width, 1), Residual(width, 2 * width, 2), Residual(2 * width, 4 * width, 2)]
        )
        self.head = nn.Linear(4 * width, len(CLASSES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn(self.stem(x)))
        for stage in self.stages:
            x = stage(x)
        return self.head(x.mean(dim=(2, 3)))


def read_idx(path: Path) -> np.ndarray:
    """An IDX file of bytes, gzipped or not."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    shape = np.frombuffer(raw, ">i4", raw[3], 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def load(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    found = {kind: sorted(folder.rglob(f"{part}-{kind}*")) for kind in ("images", "labels")}
    if not all(found.values()):
        sys.exit(f"no {part} images under {folder}: apt-get install dataset-fashion-mnist, or --data FOLDER")
    return read_idx(found["images"][0]), read_idx(found["labels"][0])


def augment(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shift by up to two pixels, flip half of the batch."""
    dy, dx = torch.randint(-2, 3, (2,), generator=generator).tolist()
    x = torch.roll(nn.functional.pad(x, (2, 2, 2, 2), value=-MEAN / STD), (dy, dx), (2, 3))[:, :, 2:-2, 2:-2]
    flip = torch.rand(len(x), generator=generator) < 0.5
    return torch.where(flip[:, None, None, None], x.flip(3), x)


def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    model.eval()
    with torch.no_grad():
        right = sum(int((model(images[i : i + 500]).argmax(1) == labels[i : i + 500]).sum())
                    for i in range(0, len(images), 500))  # fmt: skip
    return right / len(images)


def export(model: ResNet8, path: Path) -> None:
    """Write the network as ONNX node by node: no exporter artefacts, names that a reader recognises."""
    nodes, weights = [], []

    def constant(name: str, value: torch.Tensor) -> str:
        weights.append(numpy_helper.from_array(value.detach().numpy().astype(np.float32), name))
        return name

    def node(op: str, inputs: list[str], name: str, **attributes: object) -> str:
        nodes.append(helper.make_node(op, inputs, [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def conv_bn(x: str, conv: nn.Conv2d, bn: nn.BatchNorm2d, name: str) -> str:
        k, s, p = conv.kernel_size[0], conv.stride[0], conv.padding[0]
        y = node("Conv", [x, constant(f"{name}.weight", conv.weight)], f"{name}",
                 kernel_shape=[k, k], strides=[s, s], pads=[p, p, p, p])  # fmt: skip
        parts = {"scale": bn.weight, "bias": bn.bias, "mean": bn.running_mean, "var": bn.running_var}
        names = [constant(f"{name}.bn.{key}", value) for key, value in parts.items()]
        return node("BatchNormalization", [y, *names], f"{name}_bn", epsilon=bn.eps)

    x = node("Relu", [conv_bn("input", model.stem, model.bn, "stem")], "stem_relu")
    for i, stage in enumerate(model.stages, 1):
        y = node("Relu", [conv_bn(x, stage.conv1, stage.bn1, f"stage{i}_conv1")], f"stage{i}_relu1")
        y = conv_bn(y, stage.conv2, stage.bn2, f"stage{i}_conv2")
        if len(stage.shortcut):
            x = conv_bn(x, stage.shortcut[0], stage.shortcut[1], f"stage{i}_shortcut")
        x = node("Relu", [node("Add", [y, x], f"stage{i}_add")], f"stage{i}_relu2")
    x = node("Flatten", [node("GlobalAveragePool", [x], "pool")], "flatten")
    head = [constant("head.weight", model.head.weight), constant("head.bias", model.head.bias)]
    nodes.append(helper.make_node("Gemm", [x, *head], ["logits"], name="head", transB=1))
    graph = helper.make_graph(
        nodes, "resnet8_fashion",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])], weights,
    )  # fmt: skip
    result = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(result, full_check=True)
    onnx.save(result, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("/usr/share"))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=ASSETS)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(options.seed)
    (train_x, train_y), (test_x, test_y) = load(options.data, "train"), load(options.data, "t10k")

    def tensor(images: np.ndarray) -> torch.Tensor:
        return ((torch.from_numpy(images.astype(np.float32)) / 255 - MEAN) / STD)[:, None]

    x, y = tensor(train_x), torch.from_numpy(train_y.astype(np.int64))
    held_x, held_y = tensor(test_x), torch.from_numpy(test_y.astype(np.int64))
    model = ResNet8().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    batch = 128
    steps = options.epochs * (len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, steps)
    start = time.time()
    for epoch in range(options.epochs):
        model.train()
        order = torch.randperm(len(x), generator=generator)
        for i in range(0, len(order) - batch + 1, batch):
            pick = order[i : i + batch]
            loss = nn.functional.cross_entropy(model(augment(x[pick], generator)), y[pick], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}: test {accuracy(model, held_x, held_y):.4f}, {time.time() - start:.0f} s", flush=True)
    model.eval()
    options.output.mkdir(parents=True, exist_ok=True)
    export(model, options.output / "resnet8_fashion.onnx")
    np.savez_compressed(
        options.output / "fashion_test1000.npz", images=test_x[:1000], labels=test_y[:1000], classes=np.array(CLASSES)
    )


if __name__ == "__main__":
    main()
