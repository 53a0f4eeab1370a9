// Vocabulary of the scalar core: requests to memory, offloaded instructions, traps, records of retired instructions.
package core_pkg;
  import potluck_isa_pkg::*;
  import potluck_core_pkg::*;

  localparam int unsigned IntegerWritePorts = 6;
  localparam int unsigned FloatWritePorts = 4;

  // Why the core stopped; codes of the privileged specification, table 3.7.
  typedef enum logic [3:0] {
    FetchFault       = 4'd1,
    IllegalWord      = 4'd2,
    Breakpoint       = 4'd3,
    LoadMisaligned   = 4'd4,
    LoadFault        = 4'd5,
    StoreMisaligned  = 4'd6,
    StoreFault       = 4'd7,
    EnvironmentCall  = 4'd11
  } cause_e;

  typedef struct packed {
    logic        valid;
    cause_e      cause;
    logic [63:0] pc;
    logic [63:0] address;  // of an access
  } trap_t;

  // Where the memories are, in bytes; sizes are multiples of eight. DRAM is written from dram_writable on.
  typedef struct packed {
    logic [63:0] l1_begin;
    logic [63:0] l1_bytes;
    logic [63:0] dram_begin;
    logic [63:0] dram_bytes;
    logic [63:0] dram_writable;
    logic [63:0] registers_begin;
  } memory_map_t;

  // A request is an aligned word of eight bytes. Its answer is the word as it was, for everything but stores.
  typedef struct packed {
    logic        valid;
    logic        write;
    logic        atomic;   // op says which; with write: a conditional store that succeeds
    logic        in_dram;
    op_e         op;
    logic [1:0]  size;
    logic [63:0] address;
    logic [7:0]  strobe;
    logic [63:0] data;
  } request_t;

  // What goes through the FP sequencer. `a` is the integer operand, or the address of an access.
  typedef struct packed {
    logic [31:0] word;
    op_e         op;
    facts_t      facts;
    logic [63:0] pc;
    logic [1:0]  vxrm;
    logic        partway;      // vstart is not 0
    logic        in_dram;
    logic [4:0]  rd;
    logic [4:0]  fd;
    logic [4:0]  fs1;
    logic [4:0]  fs2;
    logic [4:0]  fs3;
    logic [63:0] a;
    logic [63:0] b;
  } offload_t;

  // An instruction for the DMA with its operands.
  typedef struct packed {
    op_e         op;
    logic [4:0]  selector;     // the immediate of dmcpyi and dmstati
    logic [63:0] a;
    logic [63:0] b;
  } dma_order_t;

  // A write to a register file.
  typedef struct packed {
    logic        valid;
    logic [4:0]  register_number;
    logic [63:0] value;
  } write_t;

  // An instruction that leaves the core. Its result is there when a write port of the register file says so.
  typedef struct packed {
    logic        valid;
    logic [63:0] pc;
    logic [31:0] word;
    logic        writes;       // a register other than x0
    logic        writes_float;
    logic [4:0]  destination;
    logic        float_store;  // it stores when the sequencer lets it
    logic [13:0] fcsr;         // before the instruction
  } retired_t;

  // A value in the lanes of a bus of eight bytes.
  function automatic logic [63:0] to_lanes(input logic [63:0] value, input logic [2:0] offset);
    return value << {offset, 3'b000};
  endfunction

  function automatic logic [7:0] strobe_of(input logic [2:0] offset, input logic [1:0] size);
    logic [7:0] bytes;
    case (size)
      2'd0: bytes = 8'h01;
      2'd1: bytes = 8'h03;
      2'd2: bytes = 8'h0f;
      default: bytes = 8'hff;
    endcase
    return bytes << offset;
  endfunction

  // The low 2^size bytes, with `fill` above them.
  function automatic logic [63:0] filled(input logic [63:0] value, input logic [1:0] size, input logic fill);
    case (size)
      2'd0: return {{56{fill}}, value[7:0]};
      2'd1: return {{48{fill}}, value[15:0]};
      2'd2: return {{32{fill}}, value[31:0]};
      default: return value;
    endcase
  endfunction

  function automatic logic [63:0] extended(
    input logic [63:0] value, input logic [1:0] size, input logic zero_extended
  );
    logic sign;
    case (size)
      2'd0: sign = value[7];
      2'd1: sign = value[15];
      2'd2: sign = value[31];
      default: sign = value[63];
    endcase
    return filled(value, size, sign & ~zero_extended);
  endfunction

  // An integer access from a word of eight bytes.
  function automatic logic [63:0] from_lanes(
    input logic [63:0] word, input logic [2:0] offset, input logic [1:0] size, input logic zero_extended
  );
    return extended(word >> {offset, 3'b000}, size, zero_extended);
  endfunction

  // A number narrower than the register is boxed in ones.
  function automatic logic [63:0] boxed(input logic [63:0] value, input logic [1:0] size);
    return filled(value, size, 1'b1);
  endfunction

endpackage
