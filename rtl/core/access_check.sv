// Where an access goes, and whether it may: L1, DRAM (whose first part, the program's text, is not written), and the
// cluster's registers, which are loaded as words or double words. Combinational.
module access_check
  import core_pkg::*;
(
  input  memory_map_t map_i,
  input  logic [63:0] address_i,
  input  logic [1:0]  size_i,
  input  logic        write_i,      // also atomic accesses
  input  logic        registers_i,  // an integer load
  output logic        misaligned_o,
  output logic        fault_o,
  output logic        in_dram_o
);

  localparam logic [63:0] LastRegister = 64'd16;

  logic [63:0] from_l1, from_dram, from_registers;
  assign from_l1        = address_i - map_i.l1_begin;
  assign from_dram      = address_i - map_i.dram_begin;
  assign from_registers = address_i - map_i.registers_begin;

  // Aligned accesses do not cross the end of a memory, whose size is a multiple of eight bytes.
  logic l1, dram, registers;
  assign l1        = from_l1 < map_i.l1_bytes;
  assign dram      = from_dram < map_i.dram_bytes && !(write_i && address_i < map_i.dram_writable);
  assign registers = registers_i && size_i[1] && from_registers <= LastRegister && from_registers[2:0] == '0;

  always_comb begin
    case (size_i)
      2'd0: misaligned_o = 1'b0;
      2'd1: misaligned_o = address_i[0];
      2'd2: misaligned_o = |address_i[1:0];
      default: misaligned_o = |address_i[2:0];
    endcase
  end

  assign fault_o   = ~(l1 | dram | registers);
  assign in_dram_o = dram;

endmodule
