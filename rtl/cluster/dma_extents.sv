// Where an end of a transfer lies: its lowest address and that behind its highest one, and in which memory. Combinational.
module dma_extents
  import core_pkg::*;
(
  input  memory_map_t map_i,
  input  logic [63:0] start_i,
  input  logic [63:0] stride_i,
  input  logic [31:0] size_i,
  input  logic [31:0] rows_i,
  input  logic        writes_i,
  output logic [63:0] low_o,
  output logic [63:0] end_o,
  output logic        far_o,    // in DRAM
  output logic        wrong_o   // not inside one memory that may be accessed
);

  logic [63:0] last;  // row, from the first one
  logic in_l1, in_dram, backwards, none;
  assign none      = size_i == '0 || rows_i == '0;
  assign backwards = stride_i[63];
  assign last      = (rows_i <= 32'd1) ? '0 : stride_i * 64'(rows_i - 32'd1);
  assign low_o     = backwards ? start_i + last : start_i;
  assign end_o     = (backwards ? start_i : start_i + last) + 64'(size_i);

  assign in_l1   = low_o - map_i.l1_begin < map_i.l1_bytes && end_o - map_i.l1_begin <= map_i.l1_bytes;
  assign in_dram = low_o - map_i.dram_begin < map_i.dram_bytes && end_o - map_i.dram_begin <= map_i.dram_bytes &&
                   !(writes_i && low_o < map_i.dram_writable);
  assign far_o   = in_dram;
  assign wrong_o = ~none & ~in_l1 & ~in_dram;

  logic unused;
  assign unused = ^map_i.registers_begin;

endmodule
