"""How a network becomes a program.

    ONNX --importer--> onnx-ir graph --passes--> folded, fused, quantized graph (standard ONNX at every step)
         --rules-----> one list of every node that cannot be compiled, before any work
         --selection-> plans: operators with tensors and tiles, nothing has an address
         --schedule--> plans joined and in order, DRAM addresses; --lowering--> `LoweredOp`s: kernel, tiles, transfers;
                       --schedule--> small layers in chains, what the next layer can load early
         --codegen---> machine code, data and manifest in an ELF program

`graph` reads onnx-ir graphs for all of these, `build` puts the steps behind selection together.

`potluck.compiler.compile.compile_model` does it all; `potluck.compiler.quantize.quantize_model` stops at the graph;
`potluck.compiler.schedule.evaluate` runs a schedule in NumPy, bit for bit as the machine does.
"""
