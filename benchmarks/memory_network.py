"""The packaged network under faults: accuracy against raw BER and events per pass, for every format and stack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from potluck import api
from potluck.campaign.statistics import bootstrap
from potluck.inject.campaign import Report as Campaign
from potluck.inject.campaign import inject
from potluck.inject.target import Target, load_target
from potluck.isa.machine import load_machine
from potluck.sim.dram.kind import load_kind
from potluck.sim.dram.mapping import Mapping
from potluck.sim.faults.cost import cost_of
from potluck.sim.faults.faultset import FaultSet, Sort, fault_set, keys_of
from potluck.sim.faults.footprints import MODES, Correlated, Rate
from potluck.sim.faults.models import EventMix, Key, Model, Uniform
from potluck.sim.faults.philox import stream, words
from potluck.sim.faults.placement import place, traffic
from potluck.sim.faults.protected import Protected
from potluck.sim.faults.recipes import NAMED, recipe
from potluck.sim.faults.region import Region
from potluck.sim.faults.tables import load_rates

Report = Callable[..., None]
FORMATS = ("fp32", "bf16_weights", "mxfp8", "mxfp4", "int8", "pot_apot")
STACKS = ("none", "clamp", "ondie", *NAMED, "ondie+rgf", "ondie+rgx+clamp", "top4", "rgx+clamp")
FOOTPRINTS = "bf16_weights"
"""The format in which every footprint of facts 3.4 is tried."""
BERS = (1e-5, 1e-4, 1e-3)
TRIALS = 12
IMAGES = 100
SEED = 20260504
MACHINE = "spatz-mx"
YEARS = 7
FLIPS = 20  # of the comparison of elements and scales


def _target(scheme: str) -> Target:
    return load_target("demo", scheme, load_machine(MACHINE), samples=IMAGES)


def grouped(target: Target) -> list[tuple[int, str]]:
    """Stored check bits per 256 and stack, by the bits."""
    bits = {stack: cost_of(recipe(stack), target.mapping).bits for stack in STACKS}
    return sorted(((bits[stack], stack) for stack in STACKS), key=lambda one: one[0])


def _row(what: str, bits: int, stack: str) -> str:
    return f"{what}: [{bits} bits/256] {stack}"


def curves(report: Report, targets: dict[str, Target]) -> None:
    """Accuracy by format, stack, fault model and raw BER, with 95 % intervals over trials."""
    for scheme, target in targets.items():
        report(
            f"{scheme}: accuracy without faults", 100 * target.metric(target.golden), "%", f"{IMAGES} images"
        )
        for kind, make in (("events", EventMix), ("uniform", Uniform)):
            for ber in BERS:
                model = make(ber)
                what = f"{scheme}, {kind}, raw BER {ber:.0e}{_events(model, target)}"
                for bits, stack in grouped(target):
                    found = inject(target, stack, model, TRIALS, SEED)
                    mean, low, high = found.metric
                    report(_row(what, bits, stack), 100 * mean, "%", _reference(found, low, high))


def _events(model: Model, target: Target) -> str:
    """What is expected in one pass over the constants' data bits."""
    blocks = sum(part.count for part in target.parts)
    if isinstance(model, EventMix):
        return f" ({model.block_probability * blocks:.2g} events a pass)"
    return f" ({256 * blocks * model.ber:.2g} flips a pass)" if isinstance(model, Uniform) else ""


def _reference(found: Campaign, low: float, high: float) -> str:
    raw, after = found.observed_ber()
    silent = int(found.outcomes[:, 2:4].sum())
    changed = sum(t.changed for t in found.trials)
    return (
        f"95 % {100 * low:.1f} to {100 * high:.1f}, {len(found.trials)} trials, {changed} with wrong constants; "
        f"observed BER {raw:.1e}, after on-die {after:.1e}; MIS + UND {silent}, DUE {int(found.outcomes[:, 4].sum())}"
    )


@dataclass(frozen=True)
class Flips:
    """So many flips of bits of one role, anywhere among its parts.

    Attributes:
        target: whose parts.
        role: of the parts.
        count: flips; fewer if two fall on one bit.
    """

    target: Target = field(repr=False)
    role: str
    count: int
    name: str = "flips"

    def _bits(self) -> NDArray[np.int64]:
        return np.concatenate(
            [
                np.arange(256 * p.first, 256 * (p.first + p.count))
                for p in self.target.parts
                if p.role == self.role
            ]
        )

    def draw(self, region: Region, key: Key) -> FaultSet:
        """See `Model.draw`."""
        number = np.arange(self.count, dtype=np.uint64)
        random = words(key, stream("flips"), number, 0 * number)[:, 0]
        bits = self._bits()
        chosen = bits[(random % np.uint64(len(bits))).astype(np.int64)]
        return fault_set(keys_of(chosen // 256, Sort.DATA, chosen % 256))

    def raw_ber(self, region: Region) -> float:
        """See `Model.raw_ber`."""
        return self.count / region.stored_bits


def scales(report: Report, targets: dict[str, Target]) -> None:
    """Whether a flipped scale is worse than a flipped element: equal numbers of flips, nothing protected."""
    for scheme in ("mxfp8", "mxfp4"):
        drops = {}
        for role in ("elements", "scales"):
            found = inject(targets[scheme], "none", Flips(targets[scheme], role, FLIPS), TRIALS, SEED)
            drops[role] = [found.golden - t.metric for t in found.trials]
            lost = bootstrap(drops[role], SEED)
            report(f"{scheme}: accuracy lost by {FLIPS} flips in {role}", 100 * lost.estimate, "points",
                   f"95 % {100 * lost.low:.1f} to {100 * lost.high:.1f}")  # fmt: skip
        worse = np.subtract(drops["scales"], drops["elements"])
        more = bootstrap(worse, SEED)
        report(f"{scheme}: scales' loss less elements', same trials", 100 * more.estimate, "points",
               f"95 % {100 * more.low:.1f} to {100 * more.high:.1f}", "> 0", more.low > 0)  # fmt: skip


def agreement(report: Report, targets: dict[str, Target]) -> None:
    """The fast engine beside the machine on the same faulty bytes."""
    for scheme, target in targets.items():
        few = Target(
            target.program, target.machine, {k: v[:4] for k, v in target.inputs.items()}, None, target.fast
        )
        protected = Protected(few.parts, recipe("none"), few.mapping)
        read = protected.words(protected.read(Uniform(1e-5).draw(protected.region, (SEED, 1))))
        fast, exact = few.answers(read), few.simulated(read)
        same = float((fast.argmax(1) == exact.argmax(1)).mean())
        wide = [np.asarray(answers, np.float64) for answers in (fast, exact)]
        largest = float(np.abs(wide[0] - wide[1]).max())
        bits = "equal bits" if fast.tobytes() == exact.tobytes() else f"largest difference {largest:.1e}"
        report(
            f"{scheme}: answers of onnxruntime and of the machine",
            100 * same,
            "% alike",
            bits,
            "100",
            same == 1,
        )


def costs(report: Report, targets: dict[str, Target]) -> None:
    """Bits, cycles and joules of one image by stack; cycles from a run with the codec in the path to DRAM."""
    for scheme, target in targets.items():
        image = {name: value[:1] for name, value in target.inputs.items()}
        base = api.simulate(target.program, image, machine=target.machine)
        moved = int(base.dram["bytes"])
        report(f"{scheme}: cycles an image, unprotected", base.cycles, "cycles", MACHINE)
        report(f"{scheme}: energy an image, unprotected", 1e6 * base.energy_joules, "uJ", MACHINE)
        cycles: dict[int, int] = {0: base.cycles}
        for bits, stack in grouped(target):
            if stack == "none":
                continue
            cost = cost_of(recipe(stack), target.mapping)
            if cost.cycles not in cycles:
                path = target.machine.dram.path_cycles + cost.cycles
                slower = load_machine(MACHINE, {"dram.path_cycles": str(path)})
                cycles[cost.cycles] = api.simulate(target.program, image, machine=slower).cycles
            more = cost.picojoules(moved)
            outside = f"{cost.sideband_bits} outside the devices, {cost.on_die_bits} inside"
            report(_row(f"{scheme}, check bits", bits, stack), cost.bits, "per 256", outside)
            report(_row(f"{scheme}, cycles", bits, stack), 100 * (cycles[cost.cycles] / base.cycles - 1), "% more",
                   f"{cost.cycles} cycles a read; {'; '.join(cost.sources)}")  # fmt: skip
            report(_row(f"{scheme}, energy", bits, stack), 100 * more / (1e12 * base.energy_joules), "% more",
                   f"{cost.check_pj:.0f} pJ of check bits, {cost.codec_pj:.1f} of codec per 32 bytes")  # fmt: skip


def inline(report: Report, targets: dict[str, Target]) -> None:
    """A weight pass with check bits in addresses, where a kind has no pins for them."""
    lpddr5 = Mapping(load_kind("lpddr5"), 2)
    for stack in ("hsiao", "hsiao_72_64"):
        placement = place(recipe(stack), lpddr5)
        for scheme in ("fp32", "mxfp8"):
            stream_of = [(32 * p.first, 32 * p.count, False) for p in targets[scheme].parts]
            counts = traffic(placement, stream_of)
            report(
                f"{scheme} on lpddr5, {stack} inline: bursts of a pass of the weights",
                counts.reads,
                "bursts",
                "data",
            )
            report(f"{scheme} on lpddr5, {stack} inline: more bursts", 100 * counts.extra / counts.reads, "%",
                   f"reserved {placement.reserved_bytes >> 20} MiB of {lpddr5.bytes >> 20}")  # fmt: skip


def field_rates(report: Report, targets: dict[str, Target]) -> None:
    """Years at another generation's field rates: how likely a fault touches the weights, and what it does then."""
    rates = load_rates("sridharan2012")
    for scheme in ("fp32", "mxfp8"):
        target = targets[scheme]
        model = Correlated(target.mapping, rates.rates, YEARS * 8760, forced=True)
        region = Protected(target.parts, recipe("none"), target.mapping).region
        what = f"{scheme}, {rates.name}, {YEARS} years"
        report(
            f"{what}: probability that a fault touches the weights",
            model.probability(region),
            "",
            rates.label,
        )
        for stack in ("none", "ondie+CRC", "ondie+RG"):
            found = inject(target, stack, model, TRIALS, SEED)
            mean, low, high = found.metric
            report(f"{what}, given one: {stack}", 100 * mean, "%", _reference(found, low, high))


def footprints(report: Report, targets: dict[str, Target]) -> None:
    """One fault of each mode in every trial, transient and permanent in turn: what each stack makes of it.

    Faults of pins come after the on-die code, all others are in cells below it.
    """
    target = targets[FOOTPRINTS]
    for mode in MODES:
        for kind, rate in (("transient", Rate(1.0, 0.0)), ("permanent", Rate(0.0, 1.0))):
            model = Correlated(target.mapping, {mode: rate}, 1.0, forced=True)
            for bits, stack in grouped(target):
                found = inject(target, stack, model, TRIALS // 2, SEED)
                mean, low, high = found.metric
                what = f"{FOOTPRINTS}, one {kind} fault of a {mode}"
                report(_row(what, bits, stack), 100 * mean, "%", _reference(found, low, high))


def run(report: Report) -> None:
    """All of it."""
    targets = {scheme: _target(scheme) for scheme in FORMATS}
    agreement(report, targets)
    costs(report, targets)
    inline(report, targets)
    scales(report, targets)
    field_rates(report, targets)
    footprints(report, targets)
    curves(report, targets)
