// What needs no arithmetic on one element in any format of at most Width bits: minimum and maximum, signs,
// comparisons, classes, and the estimates. Combinational.
module vector_noncomp_slice
  import fp_pkg::*;
  import potluck_vector_pkg::*;
  import vector_pkg::*;
#(
  parameter int unsigned Width = 64,  // 16, 32 or 64
  localparam int unsigned Precision = (Width == 64) ? 53 : (Width == 32) ? 24 : 11
) (
  input  vector_code_e     code_i,
  input  logic [Width-1:0] a_i,  // above the format's bits stands anything
  input  logic [Width-1:0] b_i,
  input  float_e           fmt_i,
  input  rm_e              rm_i,
  output logic [63:0]      result_o,
  output logic             holds_o,  // of a comparison
  output fflags_t          flags_o
);

  typedef struct packed {
    logic                 sign;
    logic signed [11:0]   exponent;
    logic [Precision-1:0] significand;
    logic                 zero;
    logic                 infinite;
    logic                 nan;
    logic                 signalling;
  } number_t;

  number_t a, b;
  vector_unpack #(
    .Width(Width)
  ) u_unpack_a (
    .code_i(a_i),
    .fmt_i,
    .sign_o(a.sign),
    .exponent_o(a.exponent),
    .significand_o(a.significand),
    .zero_o(a.zero),
    .infinite_o(a.infinite),
    .nan_o(a.nan),
    .signalling_o(a.signalling)
  );
  vector_unpack #(
    .Width(Width)
  ) u_unpack_b (
    .code_i(b_i),
    .fmt_i,
    .sign_o(b.sign),
    .exponent_o(b.exponent),
    .significand_o(b.significand),
    .zero_o(b.zero),
    .infinite_o(b.infinite),
    .nan_o(b.nan),
    .signalling_o(b.signalling)
  );

  // Magnitudes: codes without a sign are in the order of the numbers.
  logic [63:0] a_code, b_code, a_size, b_size, sizes, sign;
  always_comb begin
    a_code            = '0;
    b_code            = '0;
    a_code[Width-1:0] = a_i;
    b_code[Width-1:0] = b_i;
    case (fmt_i)
      VF_FP64: sizes = 64'h7FFF_FFFF_FFFF_FFFF;
      VF_FP32: sizes = 64'h7FFF_FFFF;
      default: sizes = 64'h7FFF;
    endcase
  end
  assign sign   = sizes + 64'd1;
  assign a_size = a_code & sizes;
  assign b_size = b_code & sizes;

  logic both_zero, same, less, unordered, any_signalling;
  assign both_zero      = a.zero & b.zero;
  assign unordered      = a.nan | b.nan;
  assign any_signalling = a.signalling | b.signalling;
  assign same           = both_zero | ((a.sign == b.sign) & (a_size == b_size));
  assign less           = ~both_zero & ((a.sign != b.sign) ? a.sign : a.sign ? a_size > b_size : a_size < b_size);

  logic a_first;  // a is the smaller, or the negative one of two zeros
  assign a_first = less | (same & a.sign);

  logic [9:0] class_bits;
  logic subnormal;
  assign subnormal = ~a.significand[Precision-1] & ~a.zero;
  always_comb begin
    class_bits = '0;
    if (a.nan) begin
      class_bits[a.signalling?8:9] = 1'b1;
    end else if (a.infinite) begin
      class_bits[a.sign?0:7] = 1'b1;
    end else if (a.zero) begin
      class_bits[a.sign?3:4] = 1'b1;
    end else if (subnormal) begin
      class_bits[a.sign?2:5] = 1'b1;
    end else begin
      class_bits[a.sign?1:6] = 1'b1;
    end
  end

  logic [63:0] estimate;
  fflags_t estimate_flags;
  vector_estimate #(
    .Width(Width)
  ) u_estimate (
    .root_i(code_i == VOP_RSQRT7),
    .sign_i(a.sign),
    .exponent_i(a.exponent),
    .significand_i(a.significand),
    .zero_i(a.zero),
    .infinite_i(a.infinite),
    .nan_i(a.nan),
    .signalling_i(a.signalling),
    .fmt_i,
    .rm_i,
    .result_o(estimate),
    .flags_o(estimate_flags)
  );

  always_comb begin
    result_o = '0;
    holds_o  = 1'b0;
    flags_o  = '0;
    case (code_i)
      VOP_FMIN, VOP_FMAX: begin
        result_o = (((code_i == VOP_FMIN) == a_first) ? {a.sign, a_size[62:0]} : {b.sign, b_size[62:0]});
        if (a.nan) result_o = {b.sign, b_size[62:0]};
        if (b.nan) result_o = {a.sign, a_size[62:0]};
        result_o = (result_o & sizes) | (result_o[63] ? sign : '0);
        if (a.nan && b.nan) result_o = special_code(fmt_i, 1'b1, 1'b0);
        flags_o.nv = any_signalling;
      end
      VOP_SIGN:     result_o = a_size | (b.sign ? sign : '0);
      VOP_SIGN_NOT: result_o = a_size | (b.sign ? '0 : sign);
      VOP_SIGN_XOR: result_o = a_size | ((a.sign ^ b.sign) ? sign : '0);
      VOP_FEQ, VOP_FNE: begin
        holds_o    = (~unordered & same) ^ (code_i == VOP_FNE);
        flags_o.nv = any_signalling;
      end
      VOP_FLT, VOP_FLE: begin
        holds_o    = ~unordered & (less | ((code_i == VOP_FLE) & same));
        flags_o.nv = unordered;
      end
      VOP_CLASSIFY: result_o = {54'b0, class_bits};
      default: {result_o, flags_o} = {estimate, estimate_flags};
    endcase
  end

  logic unused;
  assign unused = ^b;

endmodule
