"""Train the demo's ResNet-8 on Fashion-MNIST and export it as ONNX, with a held-out sample of the test set.

    apt-get install dataset-fashion-mnist
    pip install '.[train]'
    python examples/train_resnet8.py

About nine minutes on one core. The network: 3x3 convolutions, three residual stages of 16, 32 and 64 channels,
BatchNorm kept as nodes (folding it is the compiler's job), global average pooling, one linear layer. It is kept as
the last epoch leaves it; the accuracy on the 10,000 test images is printed after each epoch and chooses nothing.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from potluck import assets

CLASSES = [
    "T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
]  # fmt: skip
BLACK = -assets.MEAN / assets.STD


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

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
    """The bytes of an IDX file, gzipped or not; byte 3 counts its dimensions, which follow big-endian."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    shape = np.frombuffer(raw, ">i4", raw[3], 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def load(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    found = {kind: sorted(folder.rglob(f"{part}-{kind}-idx*")) for kind in ("images", "labels")}
    for kind, paths in found.items():
        if not paths:
            sys.exit(
                f"{folder}: no {part}-{kind}-idx* file. "
                "Run `apt-get install dataset-fashion-mnist`, or name the folder with --data DIR"
            )
    return read_idx(found["images"][0]), read_idx(found["labels"][0])


def augment(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shift the batch by up to two pixels each way, then flip half of its images left to right."""
    dy, dx = torch.randint(0, 5, (2,), generator=generator).tolist()
    x = nn.functional.pad(x, (2, 2, 2, 2), value=BLACK)[:, :, dy : dy + x.shape[2], dx : dx + x.shape[3]]
    flip = torch.rand(len(x), generator=generator) < 0.5
    return torch.where(flip[:, None, None, None], x.flip(3), x)


def predict(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return torch.cat([model(part) for part in images.split(500)])


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    return float((logits.argmax(1) == labels).float().mean())


def train(model: nn.Module, x: torch.Tensor, y: torch.Tensor, epochs: int, generator: torch.Generator,
          after_epoch: Callable[[int], None], batch: int = 128) -> None:  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, epochs * (len(x) // batch))
    for epoch in range(1, epochs + 1):
        model.train()
        order = torch.randperm(len(x), generator=generator)
        for pick in order[: len(x) // batch * batch].split(batch):
            logits = model(augment(x[pick], generator))
            loss = nn.functional.cross_entropy(logits, y[pick], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        after_epoch(epoch)


def to_onnx(model: ResNet8) -> onnx.ModelProto:
    """The network node by node: no exporter artefacts, names that a reader recognises."""
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
    return result


def verify(model: onnx.ModelProto, images: torch.Tensor, expected: torch.Tensor) -> None:
    """Stop unless the ONNX model says what the torch model says, up to the order of float32 sums."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"input": images.numpy()})
    np.testing.assert_allclose(logits, expected.numpy(), rtol=0, atol=1e-3)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=assets.model_path().parent)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    (train_x, train_y), (test_x, test_y) = load(options.data, "train"), load(options.data, "t10k")
    x, held_x = (torch.from_numpy(assets.normalize(images)) for images in (train_x, test_x))
    y, held_y = (torch.from_numpy(labels.astype(np.int64)) for labels in (train_y, test_y))
    model = ResNet8().to(memory_format=torch.channels_last)
    start = time.time()

    def report(epoch: int) -> None:
        figure = accuracy(predict(model, held_x), held_y)
        print(f"epoch {epoch}: test accuracy {figure:.4f}, {time.time() - start:.0f} s", flush=True)

    train(model, x, y, options.epochs, torch.Generator().manual_seed(options.seed), report)
    network = to_onnx(model)
    verify(network, held_x[:1000], predict(model, held_x[:1000]))

    options.output.mkdir(parents=True, exist_ok=True)
    target, partial = options.output / assets.model_path().name, options.output / "partial.onnx"
    onnx.save(network, partial)
    partial.replace(target)
    target, partial = options.output / assets.images_path().name, options.output / "partial.npz"
    np.savez_compressed(partial, images=test_x[:1000], labels=test_y[:1000], classes=np.array(CLASSES))
    partial.replace(target)


if __name__ == "__main__":
    main()
