"""Memory by its address, for compiled code: words, bytes, arrays, and handlers to call.

Nothing here keeps memory alive: whoever hands out an address holds the array as long as the address is used.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array


@intrinsic
def call_block(typing: Any, handler: Any, state: Any, row: Any) -> Any:
    """Call the handler at an address with (state, row) addresses."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(word, [word, word])
        pointer = builder.inttoptr(arguments[0], kind.as_pointer())
        return builder.call(pointer, [arguments[1], arguments[2]])

    return types.int64(types.uint64, types.uint64, types.uint64), generate


@intrinsic
def call_loop(typing: Any, function: Any, state: Any, rows: Any, count: Any) -> Any:
    """Call the loop at an address with (state, rows) addresses and how often it may run."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(word, [word, word, word])
        pointer = builder.inttoptr(arguments[0], kind.as_pointer())
        return builder.call(pointer, arguments[1:])

    return types.uint64(types.uint64, types.uint64, types.uint64, types.uint64), generate


@intrinsic
def peek(typing: Any, address: Any) -> Any:
    """The 64-bit word at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(builder.inttoptr(arguments[0], cgutils.intp_t.as_pointer()))

    return types.uint64(types.uint64), generate


@intrinsic
def poke(typing: Any, address: Any, value: Any) -> Any:
    """Write the 64-bit word at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[1], builder.inttoptr(arguments[0], ir.IntType(64).as_pointer()))
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64), generate


@intrinsic
def copy_bytes(typing: Any, target: Any, source: Any, count: Any) -> Any:
    """Copy bytes from address to address; the ranges do not overlap."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        there, here = (builder.inttoptr(argument, byte) for argument in arguments[:2])
        cgutils.raw_memcpy(builder, there, here, arguments[2], 1)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.uint64), generate


@intrinsic
def view(typing: Any, address: Any, shape: Any, kind: Any) -> Any:
    """What lies at an address as an array of C order, ``view(address, (rows, columns), np.int64)``.

    As ``numba.carray``, which is not to be had in functions without reference counts.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        made = signature.return_type
        array = context.make_array(made)(context, builder)
        lengths = [
            context.cast(builder, length, part, types.intp)
            for length, part in zip(cgutils.unpack_tuple(builder, arguments[1]), shape.types, strict=True)
        ]
        item = context.get_abi_sizeof(context.get_data_type(made.dtype))
        strides = [ir.Constant(cgutils.intp_t, item)]
        for length in reversed(lengths[1:]):
            strides.insert(0, builder.mul(strides[0], length))
        place = context.cast(builder, arguments[0], signature.args[0], types.uintp)
        data = builder.inttoptr(place, context.get_data_type(made.dtype).as_pointer())
        populate_array(array, data=data, shape=lengths, strides=strides, itemsize=item, meminfo=None)
        return array._getvalue()

    made = types.Array(kind.dtype, len(shape.types), "C")
    return made(types.int64, shape, kind), generate


def through(signature: Any) -> Any:
    """A function for compiled code that calls another one at an address, ``call(address, arguments as a tuple)``.

    Numba links whatever a function calls into it and optimizes all of it again, at every level of a chain of calls. A
    large function that is called through its address (:func:`address_of`) is optimized once.
    """

    @intrinsic
    def call(typing: Any, address: Any, arguments: Any) -> Any:
        def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
            convention = context.call_conv
            kind = convention.get_function_type(signature.return_type, signature.args)
            function = builder.inttoptr(given[0], kind.as_pointer())
            values = [builder.extract_value(given[1], k) for k in range(len(signature.args))]
            status, result = convention.call_function(
                builder, function, signature.return_type, signature.args, values
            )
            with cgutils.if_unlikely(builder, status.is_error):
                convention.return_status_propagate(builder, status)
            return result

        return signature.return_type(types.int64, types.Tuple(signature.args)), generate

    return call


def address_of(function: Any, signature: Any) -> int:
    """Where a function begins, compiled (or loaded) for the signature that :func:`through` was given."""
    function.compile(signature.args)
    compiled = function.overloads[signature.args]
    if compiled.signature.return_type != signature.return_type:
        raise TypeError(f"{function.__name__} returns {compiled.signature.return_type}")
    return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))
