"""From a row of the instruction table to machine code: one LLVM function per instruction variant."""
