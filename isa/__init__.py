"""What the machine is: number formats, instruction table, assembler, ELF, machine descriptions."""
