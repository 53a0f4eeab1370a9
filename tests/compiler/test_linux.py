"""Programs for rvv-generic: one ELF file, on the simulator and as a Linux process under QEMU, at every VLEN."""

import io
import os
import shutil
import subprocess

import numpy as np
import pytest
from networks import network, residual
from running import by_schedule, feeds, same_bits

from potluck.compiler.build import build, prepare
from potluck.compiler.compile import generate
from potluck.compiler.quantize import quantize_model
from potluck.compiler.quantizers.bbq_inference import BbqCeilingWarning
from potluck.isa.elf import Program
from potluck.isa.errors import MachineError, ModelError, ProgramError
from potluck.isa.machine import load_machine
from potluck.sim.cluster import Cluster
from potluck.sim.linux.process import Environment

VLENS = (128, 256, 512, 1024)


def two_ends():
    """Two inputs, three outputs, images among them: files in ONNX's order, memory in NHWC."""
    return network(
        """g (float[2, 5, 6, 4] x, float[2, 5, 6, 4] z) =>
            (float[2, 5, 6, 4] s, float[2, 120] f, float[2, 5, 3, 2] m) {
          s = Add (x, z)
          r = Relu (s)
          f = Flatten (r)
          m = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r)
        }"""
    )


def windows():
    """Depthwise and dilated convolutions, both means, bias and softmax."""
    return network(
        """g (float[1, 20, 9, 8] x) => (float[1, 40] y) {
          d = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 20> (x, w0, b0)
          r = Clip (d, low, high)
          c = Conv <kernel_shape = [3, 3], pads = [2, 2, 2, 2], dilations = [2, 2]> (r, w1, b1)
          p = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (c)
          g = GlobalAveragePool (p)
          f = Flatten (g)
          s = Add (f, b2)
          y = Softmax <axis = -1> (s)
        }""",
        w0=(20, 1, 3, 3), b0=(20,), w1=(40, 20, 3, 3), b1=(40,), b2=(40,), low=(), high=(),
    )  # fmt: skip


def perceptron():
    """Products split along K, an odd number of rows and columns."""
    return network(
        """g (float[1, 3000] x) => (float[1, 19] y) {
          h = Gemm <transB = 1> (x, w1, b1)
          r = Relu (h)
          y = MatMul (r, w2)
        }""",
        w1=(70, 3000), b1=(70,), w2=(70, 19),
    )  # fmt: skip


def rows():
    return network("g (float[7, 72] x) => (float[7, 33] y) { y = MatMul (x, w) }", w=(72, 33))


def bell_box(source, scheme, shape):
    samples = np.random.default_rng(1).standard_normal((8 * shape[0], *shape[1:])).astype(np.float32)
    with pytest.warns(BbqCeilingWarning):
        return quantize_model(source, scheme, calibration={"x": samples})


def bell_box_planes():
    """Population counts of 200 and 1000 bits: strips of every VLEN, and a last one."""
    text = """g (float[3, 200] x) => (float[3, 33] y) {
          h = Gemm <transB = 1> (x, w0, b0)
          y = MatMul (h, w1)
        }"""
    return bell_box(network(text, w0=(1000, 200), b0=(1000,), w1=(1000, 33)), "bbq2", (3, 200))


def bell_box_codes():
    """Convolutions of bytes."""
    text = """g (float[1, 16, 6, 5] x) => (float[1, 7, 3, 3] y) {
          c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w0, b0)
          r = Relu (c)
          y = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]> (r, w1, b1)
        }"""
    source = network(text, w0=(32, 16, 3, 3), b0=(32,), w1=(7, 32, 3, 3), b1=(7,))
    return bell_box(source, "bbq4", (1, 16, 6, 5))


CASES = [
    *((residual, scheme) for scheme in (None, "mxfp8", "mxfp4")),
    *((windows, scheme) for scheme in (None, "mxfp8")),
    *((perceptron, scheme) for scheme in (None, "mxfp8", "mxfp4")),
    (rows, "mxfp4"),
    (two_ends, None),
    (bell_box_planes, None),
    (bell_box_codes, None),
]


def lowered(source, scheme, **changes):
    return build(prepare(source, scheme), load_machine("rvv-generic", changes))


def simulated(program, inputs, machine, timed=False):
    cluster = Cluster(program, machine, timed=timed)
    return list(cluster.run(inputs).values())


class Linux:
    """A program as a process."""

    def __init__(self, qemu, program, folder):
        self.qemu, self.path, self.folder = qemu, folder / "model.elf", folder
        program.save(self.path)

    def call(self, *arguments, vlen=128, vector=True):
        cpu = f"rv64,v=true,vlen={vlen}" if vector else "rv64,v=false"
        command = [self.qemu, "-cpu", cpu, self.path, *arguments]
        return subprocess.run(command, capture_output=True, timeout=400, check=False)

    def run(self, schedule, inputs, vlen, suffix=".npy"):
        ins = [self.folder / f"in{i}{suffix}" for i in range(len(schedule.inputs))]
        outs = [self.folder / f"out{i}{suffix}" for i in range(len(schedule.outputs))]
        for path, tensor in zip(ins, schedule.inputs, strict=True):
            np.save(path, inputs[tensor.name]) if suffix == ".npy" else inputs[tensor.name].tofile(path)
        done = self.call(*ins, *outs, vlen=vlen)
        assert done.returncode == 0, done.stderr.decode()
        if suffix == ".npy":
            return [np.load(path) for path in outs]
        return [np.fromfile(p, "<f4").reshape(t.shape) for p, t in zip(outs, schedule.outputs, strict=True)]


@pytest.mark.parametrize(("source", "scheme"), CASES)
def test_one_program_gives_the_same_bits_on_the_simulator_at_every_vlen(source, scheme):
    schedule = lowered(source(), scheme)
    inputs = feeds(schedule)
    want, program = by_schedule(schedule, inputs), generate(schedule)
    for vlen in VLENS:
        machine = load_machine("rvv-generic", {"vector.vlen": vlen})
        assert same_bits(simulated(program, inputs, machine, timed=vlen == 256), want), vlen


@pytest.mark.parametrize(("source", "scheme"), CASES)
def test_the_same_file_gives_the_same_bits_under_linux(source, scheme, qemu, tmp_path):
    schedule = lowered(source(), scheme)
    inputs = feeds(schedule)
    want, process = by_schedule(schedule, inputs), Linux(qemu, generate(schedule), tmp_path)
    for vlen in VLENS:
        assert same_bits(process.run(schedule, inputs, vlen), want), vlen
    assert same_bits(process.run(schedule, inputs, 256, ".bin"), want)


@pytest.mark.parametrize("vlen", [128, 1024])
def test_the_vlen_that_a_program_was_compiled_for_does_not_bind_it(vlen, qemu, tmp_path):
    schedule = lowered(windows(), "mxfp8", **{"vector.vlen": vlen})
    inputs = feeds(schedule)
    want, process = by_schedule(schedule, inputs), Linux(qemu, generate(schedule), tmp_path)
    for other in (128, 512, 1024):
        assert same_bits(process.run(schedule, inputs, other), want), other


@pytest.mark.parametrize("kilobytes", [24, 64])
def test_a_small_workspace_means_more_tiles_and_the_same_bits(kilobytes):
    source = residual(channels=24, size=14)
    schedule = lowered(source, "mxfp8", **{"memory.workspace_bytes": kilobytes << 10})
    large = lowered(source, "mxfp8")
    inputs = feeds(schedule)
    want = by_schedule(large, inputs)
    assert sum(len(op.tiles) for op in schedule.ops) > sum(len(op.tiles) for op in large.ops)
    assert same_bits(by_schedule(schedule, inputs), want)
    assert same_bits(simulated(generate(schedule), inputs, schedule.target.machine), want)


@pytest.mark.parametrize("scheme", ["mxfp8", "mxfp4"])
def test_software_mx_gives_the_bits_of_vmxdotp(scheme):
    source = residual(channels=24, size=14)
    quick = build(prepare(source, scheme), load_machine("spatz-mx"))
    inputs = feeds(quick)
    want = by_schedule(quick, inputs)
    assert same_bits(by_schedule(lowered(source, scheme), inputs), want)
    cluster = build(
        prepare(source, scheme), load_machine("spatz-mx", {"isa.vmxdotp": False, "cluster.cores": 1})
    )
    assert same_bits(by_schedule(cluster, inputs), want)
    assert same_bits(simulated(generate(cluster), inputs, cluster.target.machine), want)


@pytest.mark.skipif(shutil.which("llvm-objdump") is None, reason="needs llvm-objdump")
@pytest.mark.parametrize("scheme", [None, "mxfp8", "mxfp4"])
def test_llvm_knows_every_instruction(scheme, tmp_path):
    """Nothing custom, no half precision, no FP8: RV64IMFD and V 1.0 as LLVM decodes them."""
    generate(lowered(windows() if scheme is None else residual(), scheme)).save(tmp_path / "model.elf")
    command = ["llvm-objdump", "-d", "--no-show-raw-insn", "--mattr=+m,+f,+d,+v", tmp_path / "model.elf"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = [line for line in text.splitlines() if line.startswith("800") and "\t" in line]
    assert len(lines) > 500
    assert not [line for line in lines if "<unknown>" in line]


def test_a_loaded_file_is_the_program(tmp_path):
    program = generate(lowered(residual(), None))
    path = tmp_path / "model.elf"
    program.save(path)
    assert os.access(path, os.X_OK)
    loaded = Program.load(path)
    before, after = program.sections[1], loaded.sections[1]
    assert before.zeros and (after.data, after.zeros) == (before.data, before.zeros)
    assert path.stat().st_size < before.zeros  # memory without contents is not in the file


@pytest.mark.parametrize(("source", "scheme"), [(two_ends, None), (rows, "mxfp8")])
def test_the_simulator_runs_it_as_a_linux_process_too(source, scheme, tmp_path):
    schedule = lowered(source(), scheme)
    inputs = feeds(schedule)
    names = [f"in{i}.npy" for i in range(len(inputs))], [f"out{i}.npy" for i in range(len(schedule.outputs))]
    for name, value in zip(names[0], inputs.values(), strict=True):
        np.save(tmp_path / name, value)
    generate(schedule).save(tmp_path / "model.elf")
    for program in (generate(schedule), Program.load(tmp_path / "model.elf")):
        arguments = [f"/{name}" for name in (*names[0], *names[1])]
        cluster = Cluster(program, schedule.target.machine, environment=Environment(arguments, root=tmp_path))
        cluster.run()
        got = [np.load(tmp_path / name) for name in names[1]]
        assert same_bits(got, by_schedule(schedule, inputs))
        assert cluster.harts[0].cycles > 0
        (tmp_path / names[1][0]).unlink()


def test_the_process_complains_on_the_simulator_too(tmp_path):
    schedule = lowered(rows(), None)
    np.save(tmp_path / "x.npy", np.zeros((7, 71), np.float32))
    said = io.BytesIO()
    for arguments, text in (
        (["/x.npy"], "usage"),
        (["/x.npy", "/y"], "shape"),
        (["/none", "/y"], "cannot open"),
    ):
        said.seek(0)
        environment = Environment(arguments, root=tmp_path, stderr=said)
        with pytest.raises(ProgramError, match="exited with code"):
            Cluster(generate(schedule), schedule.target.machine, environment=environment).run()
        assert text in said.getvalue().decode()
    assert not (tmp_path / "y").exists()


class TestFiles:
    """What the process says about its arguments."""

    @pytest.fixture
    def process(self, qemu, tmp_path):
        self.schedule = lowered(rows(), None)
        self.x = feeds(self.schedule)["x"]
        return Linux(qemu, generate(self.schedule), tmp_path)

    def fails(self, process, path, out="y.npy"):
        target = process.folder / out
        done = process.call(path, target)
        assert done.returncode == 1 and done.stdout == b""
        return done.stderr.decode()

    def save(self, process, array, name="x.npy"):
        np.save(process.folder / name, array)
        return process.folder / name

    def test_usage(self, process):
        done = process.call()
        assert done.returncode == 2
        assert "usage: PROGRAM x.npy y.npy\n  input x: float32 [7, 72]" in done.stderr.decode()

    def test_files_that_cannot_be_opened(self, process):
        assert "cannot open" in self.fails(process, process.folder / "none.npy")
        good = self.save(process, self.x)
        assert "cannot write" in self.fails(process, good, "no/folder.npy")

    @pytest.mark.parametrize(
        "change",
        [lambda x: x[:6], lambda x: x.astype(np.float64), np.asfortranarray, lambda x: x.astype(">f4")],
        ids=["shape", "type", "order", "byte order"],
    )
    def test_an_array_of_another_kind_is_refused(self, process, change):
        text = self.fails(process, self.save(process, change(self.x)))
        assert "'fortran_order': False, 'shape': (7, 72), }" in text

    def test_lengths(self, process):
        path = self.save(process, self.x)
        whole = path.read_bytes()
        path.write_bytes(whole[:-1])
        assert "too short" in self.fails(process, path)
        path.write_bytes(whole[:5])
        assert "too short" in self.fails(process, path)
        path.write_bytes(whole + b"\0")
        assert "longer" in self.fails(process, path)
        raw = process.folder / "x.f32"
        raw.write_bytes(self.x.tobytes()[:-4])
        assert "too short" in self.fails(process, raw)

    def test_a_header_of_another_length_is_read(self, process):
        """Older versions of NumPy, and other writers, pad the header to other lengths."""
        path = self.save(process, self.x)
        whole = path.read_bytes()
        text = whole[10 : 10 + int.from_bytes(whole[8:10], "little")].rstrip()
        longer = text.ljust(1000) + b"\n"
        path.write_bytes(whole[:8] + len(longer).to_bytes(2, "little") + longer + self.x.tobytes())
        out = process.folder / "y.npy"
        assert process.call(path, out).returncode == 0
        assert same_bits([np.load(out)], by_schedule(self.schedule, {"x": self.x}))

    def test_a_processor_without_vectors_is_told_apart(self, process):
        done = process.call(self.save(process, self.x), process.folder / "y.npy", vector=False)
        assert done.returncode == 1 and b"no vector extension" in done.stderr


def test_what_the_machine_cannot_do_is_named():
    with pytest.raises(MachineError, match="E5M2"):
        lowered(residual(), "mxfp8_e5m2")
    with pytest.raises(MachineError, match=r"cluster\.cores"):
        lowered(residual(), None, **{"cluster.cores": 2})
    with pytest.raises(MachineError, match="workspace_bytes"):
        lowered(residual(), None, **{"memory.workspace_bytes": 1024})


def test_weights_beyond_fp32_are_refused():
    from potluck.compiler.graph.nodes import constant

    model = prepare(residual(), "mxfp8")
    node = next(node for node in model.graph if node.op_type == "DequantizeLinear")
    constant(node.inputs[1]).view(np.uint8)[:] = 254
    with pytest.raises(ModelError, match="exceed FP32"):
        build(model, load_machine("rvv-generic"))
