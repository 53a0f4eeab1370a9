"""The tiles of a convolution: where its buffers lie in L1, and what each tile loads, computes and stores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from potluck.compiler.lowering.base import Target, share
from potluck.compiler.lowering.products import format_name
from potluck.compiler.lowering.windows import RowBuffer
from potluck.compiler.schedule.layer import Loop, LoweredOp, Tile, Transfer

if TYPE_CHECKING:
    from potluck.compiler.lowering.conv import ConvPlan, Group, Place
    from potluck.compiler.lowering.ending import Unit


class ConvTiles:
    """Addresses of a convolution's buffers and the transfers of its tiles."""

    def __init__(self, plan: ConvPlan, target: Target) -> None:
        self.plan, self.target, self.tiling = plan, target, plan.tiling
        self.l1 = target.l1()
        fill = target.fills.get(plan.border, 0)
        g, x = plan.tile, plan.x
        self.parts = [RowBuffer(g, x.pixel_bytes, x.address, fill)]
        if plan.mx is not None:
            self.parts.append(RowBuffer(g, x.scales, x.scales_address, fill))
        weights, inputs, outputs = plan.sizes.copies(self.tiling)
        held = [len(item.data) for item in plan.groups[0].constants]
        self.weights = [[self.l1.take("weights", size) for size in held] for _ in range(weights)]
        self.inputs = [
            [self.l1.take("input", part.bytes(self.tiling.rows)) for part in self.parts]
            for _ in range(inputs)
        ]
        expanded = plan.sizes.expanded_bytes(self.tiling)
        self.expanded = self.l1.take("levels", expanded) if expanded else 0
        sizes = plan.sizes
        out, copies = sizes.out_bytes(self.tiling), sizes.value_copies(self.tiling)
        self.values = [self.l1.take("output", out) for _ in range(copies)]
        self.made = [
            [self.l1.take("codes", size) for size in sizes.made_bytes(self.tiling)] for _ in range(outputs)
        ]

    def result(self) -> LoweredOp:
        """The layer."""
        plan, rows = self.plan, self.tiling.rows
        setup = [
            transfer
            for buffers in self.inputs
            for part, at in zip(self.parts, buffers, strict=True)
            for transfer in part.sides(at, rows)
        ]
        g = plan.geometry
        loops = [
            Loop("channel", plan.out_channels, self.tiling.channels * self.tiling.slices),
            Loop("image", plan.images, 1),
            Loop("column", g.out_width, self.tiling.columns),
            Loop("row", g.out_height, rows),
        ]
        ordered = loops if self.tiling.groups_outer else [*loops[1:], loops[0]]
        operands = [*plan.x.operands("input"), *(item.operand("weights") for item in plan.constants())]
        return LoweredOp(
            name=plan.name,
            op=plan.op,
            kernel=plan.tile_kernel,
            loops=tuple(loop for loop in ordered if len(loop) > 1),
            setup=tuple(setup),
            tiles=tuple(self._tiles()),
            operands=(*operands, *(part for tensor in plan.writes() for part in tensor.operands("output"))),
            macs=plan.macs,
            format=format_name(plan.x, plan.weights),
            footprint=tuple(self.l1.taken),
        )

    def _tiles(self) -> Iterator[Tile]:
        plan = self.plan
        group_at, place_at = -1, None
        weight_turn = input_turn = -1
        for step, (group, place) in enumerate(plan.order()):
            loads: list[Transfer] = []
            if group != group_at and group_at >= 0 and self.tiling.single:
                words = plan.words + 3 * len(plan.quantized)
                yield Tile((), (), ((0,) * words,) * self.target.harts, "weights change")
            fresh = group != group_at
            if fresh:
                group_at, weight_turn = group, weight_turn + 1
                to = self.weights[weight_turn % len(self.weights)]
                loads += [
                    Transfer(item.address, at, len(item.data))
                    for item, at in zip(plan.groups[group].constants, to, strict=True)
                ]
            if place != place_at:
                place_at, input_turn = place, input_turn + 1
                buffers = self.inputs[input_turn % len(self.inputs)]
                for part, at in zip(self.parts, buffers, strict=True):
                    loads += part.load(at, place.image, place.row, place.rows, place.column)
            weights = self.weights[weight_turn % len(self.weights)]
            inputs = self.inputs[input_turn % len(self.inputs)]
            values, made = self.values[step % len(self.values)], self.made[step % len(self.made)]
            args = tuple(
                (
                    *self._args(weights, inputs, values, plan.groups[group], place.rows, hart, fresh),
                    *self._ends(made, plan.groups[group], place.rows, hart),
                )
                for hart in range(self.target.harts)
            )
            starts = plan.groups[group].starts
            where = f"image {place.image} rows {place.row}+{place.rows} columns {place.column}+{self.tiling.columns}"
            name = f"{where} channels {starts[0]}+{len(starts) * self.tiling.channels}"
            yield Tile(tuple(loads), tuple(self._stores(values, made, starts, place)), args, name)

    def _share(self, group: Group, count: int, hart: int) -> tuple[int, int, int]:
        """(slice, first row, rows) of a hart."""
        parts = self.target.harts // self.tiling.slices  # of the rows: for each slice as many harts
        piece, part = divmod(hart, parts)
        return piece, *share(count if piece < len(group.starts) else 0, parts, part)

    def _ends(self, made: list[int], group: Group, count: int, hart: int) -> list[int]:
        """Arguments of the quantizers: what a hart has computed, as rows of whole blocks."""
        piece, first, rows = self._share(group, count, hart)
        line = self.plan.tile.tile_width * self.tiling.channels
        start, ending = piece * self.slice_values + first * line, self.plan.sizes.ending
        places = [at + start // unit.values * unit.bytes for at, unit in zip(made, ending.made, strict=True)]
        words: list[int] = []
        for number, kernel in enumerate(ending.kernels):
            words += [*places[2 * number : 2 * number + 2], rows * line // kernel.k]
        return words

    def _args(
        self,
        weights: list[int],
        inputs: list[int],
        output: int,
        group: Group,
        count: int,
        hart: int,
        fresh: bool,
    ) -> tuple[int, ...]:
        g = self.plan.tile
        piece, first, rows = self._share(group, count, hart)
        packed = [
            at + piece * (len(item.data) // len(group.starts))
            for at, item in zip(weights, group.constants, strict=True)
        ]
        starts = [at + first * g.stride[0] * part.pitch for part, at in zip(self.parts, inputs, strict=True)]
        line = g.tile_width * self.tiling.channels
        out = output + (piece * self.slice_values + first * line) * self.plan.y.item_bytes
        # Every hart expands the codes it multiplies, once: harts that share weights write the same bytes.
        levels = self.expanded + piece * self.plan.sizes.levels_bytes(self.tiling)
        source = packed[0] if fresh and piece < len(group.starts) else 0
        if self.plan.made is not None:
            scales = starts[1] if self.plan.mx is not None else 0
            blocks = packed[1] if len(packed) > 2 else 0  # 16-bit weights have no scales
            return starts[0], scales, levels, blocks, packed[-1], out, rows, source
        if self.plan.expands:
            return starts[0], source, levels, 0, packed[1], out, rows
        if self.plan.mx is None:
            return starts[0], 0, packed[0], 0, packed[1], out, rows
        return starts[0], starts[1], packed[0], packed[1], packed[2], out, rows

    @property
    def slice_values(self) -> int:
        """Values of a slice in a buffer."""
        return self.tiling.rows * self.plan.tile.tile_width * self.tiling.channels

    def _stores(self, values: int, made: list[int], starts: list[int], place: Place) -> Iterator[Transfer]:
        """Values, codes and scales, each slice after slice."""
        plan, ending = self.plan, self.plan.sizes.ending
        sources = [*([values] if ending.kept else []), *made]
        targets = [*([plan.y.address] if ending.kept else [])]
        targets += [address for item in plan.quantized for address in item.addresses]
        for unit, source, to in zip(ending.stored, sources, targets, strict=True):
            yield from self._part(unit, source, to, starts, place)

    def _part(self, unit: Unit, values: int, to: int, starts: list[int], place: Place) -> Iterator[Transfer]:
        """One kind of them from its buffer to its tensor."""
        plan, g = self.plan, self.plan.tile
        width = g.tile_width
        pixel, part = (
            count // unit.values * unit.bytes for count in (plan.out_channels, self.tiling.channels)
        )
        line, size = g.out_width * pixel, self.slice_values // unit.values * unit.bytes
        base = to + (place.image * g.out_height + place.row) * line + place.column * pixel
        for piece, start in enumerate(starts):
            source, to = values + piece * size, base + start // unit.values * unit.bytes
            if part == pixel and not g.strip:
                yield Transfer(source, to, place.rows * line)
            elif part == pixel:
                yield Transfer(source, to, width * pixel, place.rows, width * pixel, line)
            elif not g.strip:
                yield Transfer(source, to, part, place.rows * width, part, pixel)
            else:
                for row in range(place.rows):
                    yield Transfer(source + row * width * part, to + row * line, part, width, part, pixel)
