"""SystemVerilog made from the tables; an output of a build, never committed."""
