// What the controller of the vector unit tells its units of an instruction, and where instructions stand.
//
// Places in the register file are words of 256 bits: one per lane of 64 bits. VLEN is two of them.
package vector_unit_pkg;

  import potluck_isa_pkg::*;
  import potluck_vector_control_pkg::*;
  import fp_pkg::*;
  import mxdotp_pkg::*;

  localparam int unsigned Lanes = 4;
  localparam int unsigned Ports = 4;
  localparam int unsigned Ids = 4;
  localparam int unsigned WordBits = 64 * Lanes;
  localparam int unsigned WordBytes = WordBits / 8;
  localparam int unsigned VlenBits = 512;
  localparam int unsigned Words = 32 * VlenBits / WordBits;
  localparam int unsigned WordsPerRegister = VlenBits / WordBits;
  localparam int unsigned Banks = 4;
  localparam int unsigned Sources = 5;  // vs2, vs1, the mask, vs3, vs4

  typedef logic [$clog2(Words)-1:0] word_t;
  typedef logic [$clog2(Ids)-1:0] id_t;
  typedef logic [9:0] count_t;            // elements: up to VLEN at eight bits each and LMUL 8
  typedef logic [WordBits-1:0] data_t;
  typedef logic [WordBytes-1:0] strobe_t;

  // The words of an operand. After `beats` steps the words below first + (beats >> shift) are done with.
  typedef struct packed {
    logic       valid;
    word_t      first;
    word_t      last;
    logic [3:0] shift;
    logic       at_end;  // all of them together, at the end
  } span_t;

  // An instruction on its way through a unit. Widths are binary logarithms of bytes.
  typedef struct packed {
    id_t         id;
    op_e         op;
    control_t    control;
    logic        unmasked;
    logic        scalar_float;  // a scalar instruction on lane 0
    logic        to_x;          // whose result goes to an integer register
    logic [1:0]  sew;
    logic [1:0]  vd_width;      // of the data of an access
    logic [1:0]  vs2_width;
    logic [1:0]  vs1_width;
    logic [1:0]  widest;
    count_t      count;         // elements
    count_t      vlmax;
    word_t       vd;
    word_t       vs2;
    word_t       vs1;
    word_t       vs3;
    word_t       vs4;
    logic [4:0]  rd;
    logic [1:0]  result_width;  // of a scalar instruction
    logic [63:0] first;         // its first operand
    logic [63:0] scalar;        // the second operand; a base address
    logic [63:0] stride;        // of an access; else the scalar scale
    rm_e         rm;
    logic [1:0]  vxrm;
    logic        alternate;     // E5M2 elements
    elem_fmt_e   elements;      // of VMXDOTP
  } instruction_t;

  // What the scoreboard knows of an instruction in flight.
  typedef struct packed {
    span_t vd;
    span_t [Sources-1:0] sources;
    logic [2:0] credit;      // binary logarithm of the steps after which progress shows
    logic       unchained;
  } footprint_t;

  // A write into the register file.
  typedef struct packed {
    logic    valid;
    id_t     id;
    word_t   word;
    strobe_t strobe;
    data_t   data;
  } vrf_write_t;

  // What a step of the arithmetic leaves: a write, which may be none, and whether it is the instruction's last step.
  typedef struct packed {
    vrf_write_t write;
    logic       last;
  } result_t;

  // A step of an instruction has left its results: its id, and whether it was the last one.
  typedef struct packed {
    logic valid;
    id_t  id;
    logic last;
  } progress_t;

  // A result for an x or f register.
  typedef struct packed {
    logic        valid;
    logic [4:0]  register_number;
    logic [63:0] value;
  } scalar_t;

  // Word w lies in bank (w + w / 16) mod 4.
  function automatic logic [$clog2(Banks)-1:0] bank_of(input word_t word);
    return 2'(word + (word >> 4));
  endfunction

  // Up to eight copies of the low 2^width bytes.
  function automatic logic [63:0] splat(input logic [63:0] value, input logic [1:0] width);
    case (width)
      2'd0: return {8{value[7:0]}};
      2'd1: return {4{value[15:0]}};
      2'd2: return {2{value[31:0]}};
      default: return value;
    endcase
  endfunction

endpackage
