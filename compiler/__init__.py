"""How a network becomes a program.

    ONNX --importer--> onnx-ir graph --passes--> folded, fused, quantized graph (standard ONNX at every step)
         --rules-----> one list of every node that cannot be compiled, before any work
         --selection-> plans: operators with tensors and tiles, nothing has an address
         --memory----> DRAM addresses; --lowering--> `LoweredOp`s: kernel, tiles, transfers
         --overlap---> what the next layer can load early
         --codegen---> machine code, data and manifest in an ELF program

`potluck.compiler.compile.compile_model` does it all; `potluck.compiler.quantize.quantize_model` stops at the graph;
`potluck.compiler.evaluate` runs a schedule in NumPy, bit for bit as the machine does.
"""
