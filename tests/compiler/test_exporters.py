"""What PyTorch's two exporters write goes in as it is: constants in nodes, shapes computed in the graph, functions."""

import importlib.util
import os

import numpy as np
import onnx
import onnxruntime
import pytest

from potluck import api

if importlib.util.find_spec("torch") is None and not os.environ.get("POTLUCK_REQUIRE_TRAIN"):
    pytest.skip("no torch here: pip install 'potluck[train]'", allow_module_level=True)

import torch
from torch import nn
from torch.nn import functional as F


class Vision(nn.Module):
    """Depthwise, squeeze and excite, bilinear resizing, padding: what mobile networks are made of."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16)
        self.depthwise, self.point = nn.Conv2d(16, 16, 3, 1, 1, groups=16), nn.Conv2d(16, 24, 1)
        self.excite, self.out = nn.Conv2d(24, 24, 1), nn.Linear(24, 10)

    def forward(self, x):
        x = F.hardswish(self.point(self.depthwise(F.silu(self.norm(self.stem(x))))))
        x = x * torch.sigmoid(self.excite(x.mean((2, 3), keepdim=True)))
        x = F.pad(F.interpolate(x, scale_factor=2, mode="bilinear"), (0, 1, 0, 1))
        return self.out(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Language(nn.Module):
    """Embedding, a masked encoder layer, a recurrent one."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 32)
        self.encode = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, activation="gelu")
        self.recur, self.out = nn.GRU(32, 16, batch_first=True), nn.Linear(16, 5)

    def forward(self, tokens):
        count = tokens.shape[1]
        x = self.embed(tokens) + torch.arange(count, dtype=torch.float32)[None, :, None] * 0.01
        mask = torch.triu(torch.full((count, count), -torch.inf, dtype=torch.float32), 1)
        return torch.softmax(self.out(self.recur(self.encode(x, src_mask=mask))[0]), -1)


class Rotary(nn.Module):
    """Attention as decoders have it: rotations from positions, a causal mask, RMSNorm."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList(nn.Linear(32, 32) for _ in range(3))

    def forward(self, x):
        batch, count, width = x.shape
        q, k, v = (part(x).view(batch, count, 4, 8).transpose(1, 2) for part in self.parts)
        angles = torch.arange(count)[:, None] / 10000 ** (torch.arange(0, 8, 2) / 8)
        cos, sin = (torch.cat([wave(angles)] * 2, -1) for wave in (torch.cos, torch.sin))
        q, k = (z * cos + torch.cat([-z[..., 4:], z[..., :4]], -1) * sin for z in (q, k))
        y = (
            F.scaled_dot_product_attention(q, k, v, is_causal=True)
            .transpose(1, 2)
            .reshape(batch, count, width)
        )
        return y * torch.rsqrt(y.square().mean(-1, keepdim=True) + 1e-5)


class Shuffle(nn.Module):
    """Halves of the channels go their own ways and are shuffled; what was cut by a computed size is joined again."""

    def __init__(self):
        super().__init__()
        self.stem, self.branch, self.out = (
            nn.Conv2d(3, 12, 3, 2, 1),
            nn.Conv2d(6, 6, 3, 1, 1),
            nn.Conv2d(12, 5, 1),
        )

    def forward(self, x):
        left, right = self.stem(x).chunk(2, 1)
        x = torch.cat([left, self.branch(right)], 1)
        batch, channels, height, width = x.shape
        x = x.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(x.shape)
        return self.out(F.pad(F.max_pool2d(x, 2), (0, channels - 11)))


NETWORKS = {
    "shuffle": (Shuffle, lambda: torch.randn(2, 3, 11, 17)),
    "vision": (Vision, lambda: torch.randn(2, 3, 17, 19)),
    "language": (Language, lambda: torch.randint(0, 50, (2, 9))),
    "rotary": (Rotary, lambda: torch.randn(2, 7, 32)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("free", [False, True], ids=["fixed", "free batch"])
@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
@pytest.mark.parametrize("name", NETWORKS)
def test_what_pytorch_writes_compiles(name, exporter, free, tmp_path):
    torch.manual_seed(3)
    make, inputs = NETWORKS[name]
    network, x, path = make().eval(), inputs(), tmp_path / "network.onnx"
    dynamo = exporter == "dynamo"
    options = {"external_data": False} if dynamo else {}
    if free:
        options |= (
            {"dynamic_shapes": ({0: torch.export.Dim.DYNAMIC},)}
            if dynamo
            else {"dynamic_axes": {"x": {0: "n"}}}
        )
    torch.onnx.export(
        network, (x,), path, input_names=["x"], output_names=["y"], dynamo=dynamo, verbose=False, **options
    )
    (axis, *_) = onnx.load(path).graph.input[0].type.tensor_type.shape.dim
    assert bool(axis.dim_param) == free
    dims = {axis.dim_param: 1} if free else {}
    taken = x[: 1 if free else 2].numpy()
    (expected,) = onnxruntime.InferenceSession(path).run(None, {"x": taken})
    result = api.simulate(api.compile(path, dims=dims), {"x": taken}, "functional")
    np.testing.assert_allclose(result.outputs["y"], expected, rtol=1e-4, atol=1e-6)
    assert not result.manifest.get("host")
