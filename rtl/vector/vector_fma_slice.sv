// Fused multiply-add of one element in any format of at most Width bits, operands possibly narrower than the result:
// exact until one rounding (IEEE 754-2019, RISC-V flags and NaN).
//
// Latency registers divide operands and sum; one operation may enter in every cycle.
module vector_fma_slice
  import fp_pkg::*;
  import vector_pkg::*;
#(
  parameter int unsigned Width    = 64,  // 16, 32 or 64
  parameter int unsigned Latency  = 3,
  parameter int unsigned TagWidth = 1
) (
  input  logic                clk_i,
  input  logic                rst_ni,

  input  logic                valid_i,
  output logic                ready_o,
  input  logic [Width-1:0]    a_i,
  input  logic [Width-1:0]    b_i,
  input  logic [Width-1:0]    c_i,
  input  float_e              a_fmt_i,
  input  float_e              b_fmt_i,
  input  float_e              fmt_i,             // of the result
  input  float_e              c_fmt_i,
  input  logic                b_one_i,           // b is 1
  input  logic                c_zero_i,          // the addend is a zero of the product's sign
  input  logic                negate_product_i,
  input  logic                negate_addend_i,
  input  rm_e                 rm_i,
  input  logic [TagWidth-1:0] tag_i,

  output logic                valid_o,
  input  logic                ready_i,
  output logic [Width-1:0]    result_o,
  output fflags_t             flags_o,
  output logic [TagWidth-1:0] tag_o
);

  localparam int unsigned Precision = (Width == 64) ? 53 : (Width == 32) ? 24 : 11;
  localparam int unsigned InputStages = (Latency > 0) ? 1 : 0;  // for the operands, the others for the sum

  // Operands ---------------------------------------------------------------------------------------------------------
  typedef struct packed {
    logic [Width-1:0]    a;
    logic [Width-1:0]    b;
    logic [Width-1:0]    c;
    float_e              a_fmt;
    float_e              b_fmt;
    float_e              c_fmt;
    float_e              fmt;
    logic                b_one;
    logic                c_zero;
    logic                negate_product;
    logic                negate_addend;
    rm_e                 rm;
    logic [TagWidth-1:0] tag;
  } operands_t;

  operands_t in;
  logic in_valid, in_ready;
  pipe_stage #(
    .Width($bits(operands_t)),
    .Stages(InputStages)
  ) u_input_stage (
    .clk_i,
    .rst_ni,
    .valid_i,
    .ready_o,
    .data_i({a_i, b_i, c_i, a_fmt_i, b_fmt_i, c_fmt_i, fmt_i, b_one_i, c_zero_i, negate_product_i, negate_addend_i,
             rm_i, tag_i}),
    .valid_o(in_valid),
    .ready_i(in_ready),
    .data_o(in)
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

  number_t a, b_given, c_given, b, c;

  vector_unpack #(
    .Width(Width)
  ) u_unpack_a (
    .code_i(in.a),
    .fmt_i(in.a_fmt),
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
    .code_i(in.b),
    .fmt_i(in.b_fmt),
    .sign_o(b_given.sign),
    .exponent_o(b_given.exponent),
    .significand_o(b_given.significand),
    .zero_o(b_given.zero),
    .infinite_o(b_given.infinite),
    .nan_o(b_given.nan),
    .signalling_o(b_given.signalling)
  );
  vector_unpack #(
    .Width(Width)
  ) u_unpack_c (
    .code_i(in.c),
    .fmt_i(in.c_fmt),
    .sign_o(c_given.sign),
    .exponent_o(c_given.exponent),
    .significand_o(c_given.significand),
    .zero_o(c_given.zero),
    .infinite_o(c_given.infinite),
    .nan_o(c_given.nan),
    .signalling_o(c_given.signalling)
  );

  logic product_sign;
  assign product_sign = a.sign ^ (~in.b_one & b_given.sign) ^ in.negate_product;

  always_comb begin
    b = b_given;
    if (in.b_one) begin
      b = '0;
      b.significand[Precision-1] = 1'b1;
    end
    c      = c_given;
    c.sign = c_given.sign ^ in.negate_addend;
    if (in.c_zero) begin
      c          = '0;
      c.zero     = 1'b1;
      c.sign     = product_sign;
      c.exponent = -12'sd2048;  // below every product
    end
  end

  // NaN and infinite operands; infinity times zero is invalid whatever the addend.
  logic product_infinite, inf_zero, cancels;
  assign product_infinite = a.infinite | b.infinite;
  assign inf_zero         = (a.infinite & b.zero) | (a.zero & b.infinite);
  assign cancels          = product_infinite & c.infinite & (product_sign ^ c.sign);

  typedef struct packed {
    logic [TagWidth-1:0] tag;
    float_e              fmt;
    logic                nan;  // the result is known already
    logic                infinite;
    logic                invalid;
  } context_t;

  context_t given, ctx;
  logic sum_sign, subtract;

  always_comb begin
    given.tag      = in.tag;
    given.fmt      = in.fmt;
    given.nan      = a.nan | b.nan | c.nan | inf_zero | cancels;
    given.infinite = product_infinite | c.infinite;
    given.invalid  = a.signalling | b.signalling | c.signalling | inf_zero
                     | (~(a.nan | b.nan | c.nan) & cancels);
    // An infinity's sign is to pass the sum as it is.
    sum_sign       = (c.infinite & ~product_infinite) ? c.sign : product_sign;
    subtract       = (product_sign ^ c.sign) & ~given.infinite;
  end

  // Sum --------------------------------------------------------------------------------------------------------------
  logic sign;
  logic signed [13:0] exponent;
  logic [Precision+1:0] significand;
  rm_e rm;

  fma_sum #(
    .Precision(Precision),
    .ExponentWidth(14),
    .Latency(Latency - InputStages),
    .ContextWidth($bits(context_t))
  ) u_sum (
    .clk_i,
    .rst_ni,
    .valid_i(in_valid),
    .ready_o(in_ready),
    .a_i(a.significand),
    .b_i(b.significand),
    .c_i(c.significand),
    .product_exponent_i(14'(a.exponent) + 14'(b.exponent)),
    .addend_exponent_i(14'(c.exponent)),
    .product_zero_i(a.zero | b.zero),
    .sign_i(sum_sign),
    .subtract_i(subtract),
    .rm_i(in.rm),
    .context_i(given),
    .valid_o,
    .ready_i,
    .sign_o(sign),
    .exponent_o(exponent),
    .significand_o(significand),
    .rm_o(rm),
    .context_o(ctx)
  );

  // Rounding ---------------------------------------------------------------------------------------------------------
  logic [Width-1:0] rounded;
  fflags_t rounded_flags;

  vector_round #(
    .Width(Width)
  ) u_round (
    .sign_i(sign),
    .exponent_i(exponent),
    .significand_i(significand),
    .fmt_i(ctx.fmt),
    .rm_i(rm),
    .to_odd_i(1'b0),
    .saturate_i(1'b0),
    .result_o(rounded),
    .flags_o(rounded_flags)
  );

  logic [63:0] special;
  assign special = special_code(ctx.fmt, ctx.nan, sign);

  always_comb begin
    result_o = rounded;
    flags_o  = rounded_flags;
    if (ctx.nan || ctx.infinite) begin
      result_o   = special[Width-1:0];
      flags_o    = '0;
      flags_o.nv = ctx.invalid;
    end
  end

  assign tag_o = ctx.tag;

  // Of wider formats, and what a factor's sign and an addend's being zero do not tell.
  logic unused;
  assign unused = ^{special, b, c};

endmodule
