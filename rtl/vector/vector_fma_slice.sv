// Fused multiply-add of one element in any format of at most Width bits, operands possibly narrower than the result:
// exact until one rounding (IEEE 754-2019, RISC-V flags and NaN). The structure is bf16_fma's.
//
// With p = (product_negative) a * b and q the addend, the result is p + q. Latency registers divide multiplication,
// alignment, addition and rounding; one operation may enter in every cycle.
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

  // One register for the operands, then as in bf16_fma: after the alignment, the addition, the multiplier.
  localparam int unsigned InputStages = (Latency > 0) ? 1 : 0;
  localparam int unsigned InnerStages = Latency - InputStages;
  localparam int unsigned AlignStages = (InnerStages + 2) / 3;
  localparam int unsigned AddStages = (InnerStages + 1) / 3;
  localparam int unsigned ProductStages = InnerStages / 3;

  localparam int unsigned ProductWidth = 2 * Precision;
  // Two bits below the product: one that cancelling brings into the significand, and a round bit. Two bits between
  // the product and an addend in the leftmost place, for the same reason.
  localparam int unsigned SumWidth = 3 * Precision + 4;
  localparam int unsigned MaxShift = SumWidth;  // to where all of the addend lies below the sum
  localparam int unsigned ShiftWidth = $clog2(MaxShift + 1);
  // One bit more for what the addend has below the sum.
  localparam int unsigned MagWidth = SumWidth + 1;

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

  // What accompanies an operation all along.
  typedef struct packed {
    logic [TagWidth-1:0] tag;
    rm_e                 rm;
    float_e              fmt;
    logic                nan;       // the result is known already
    logic                infinite;
    logic                invalid;
    logic                sign;      // of the product, or of the infinity
    logic                subtract;  // the addend has the other sign
    logic signed [13:0]  exponent;  // of the sum's highest bit
  } context_t;

  // Product and exponents --------------------------------------------------------------------------------------------
  typedef struct packed {
    context_t                ctx;
    logic [ProductWidth-1:0] product;
    logic [Precision-1:0]    addend;
    logic [ShiftWidth-1:0]   shift;  // of the addend, to the right of the leftmost place
  } product_t;

  product_t product_d, product_q;

  logic signed [13:0] product_exponent, addend_exponent, shift;
  logic far;
  assign product_exponent = 14'(a.exponent) + 14'(b.exponent);
  assign addend_exponent  = 14'(c.exponent);

  // An addend that stands higher than the leftmost place stays there: the product then is less than a quarter of its
  // last bit and only has to be seen. So does any addend of a product that is zero.
  assign shift = 14'(Precision + 3) + product_exponent - addend_exponent;
  assign far   = shift[13] | a.zero | b.zero;

  // NaN and infinite operands; infinity times zero is invalid whatever the addend.
  logic product_infinite, inf_zero, cancels;
  assign product_infinite = a.infinite | b.infinite;
  assign inf_zero         = (a.infinite & b.zero) | (a.zero & b.infinite);
  assign cancels          = product_infinite & c.infinite & (product_sign ^ c.sign);

  always_comb begin
    product_d.ctx.tag      = in.tag;
    product_d.ctx.rm       = in.rm;
    product_d.ctx.fmt      = in.fmt;
    product_d.ctx.nan      = a.nan | b.nan | c.nan | inf_zero | cancels;
    product_d.ctx.infinite = product_infinite | c.infinite;
    product_d.ctx.invalid  = a.signalling | b.signalling | c.signalling | inf_zero
                             | (~(a.nan | b.nan | c.nan) & cancels);
    product_d.ctx.sign     = (c.infinite & ~product_infinite) ? c.sign : product_sign;
    product_d.ctx.subtract = product_sign ^ c.sign;
    product_d.ctx.exponent = far ? addend_exponent : product_exponent + 14'(Precision + 3);
    product_d.product      = ProductWidth'(a.significand) * ProductWidth'(b.significand);
    product_d.addend       = c.significand;
    product_d.shift        = shift[ShiftWidth-1:0];
    if (shift > 14'(MaxShift)) product_d.shift = ShiftWidth'(MaxShift);
    if (far) product_d.shift = '0;
  end

  logic product_valid, product_ready;
  pipe_stage #(
    .Width($bits(product_t)),
    .Stages(ProductStages)
  ) u_product_stage (
    .clk_i,
    .rst_ni,
    .valid_i(in_valid),
    .ready_o(in_ready),
    .data_i(product_d),
    .valid_o(product_valid),
    .ready_i(product_ready),
    .data_o(product_q)
  );

  // Alignment --------------------------------------------------------------------------------------------------------
  typedef struct packed {
    context_t                ctx;
    logic [ProductWidth-1:0] product;
    logic [MagWidth-1:0]     addend;  // the lowest bit collects what falls off
  } align_t;

  align_t align_d, align_q;
  logic [SumWidth+Precision-1:0] moved;

  assign moved   = {product_q.addend, {SumWidth{1'b0}}} >> product_q.shift;
  assign align_d = {product_q.ctx, product_q.product, moved[SumWidth+Precision-1:Precision], |moved[Precision-1:0]};

  logic align_valid, align_ready;
  pipe_stage #(
    .Width($bits(align_t)),
    .Stages(AlignStages)
  ) u_align_stage (
    .clk_i,
    .rst_ni,
    .valid_i(product_valid),
    .ready_o(product_ready),
    .data_i(align_d),
    .valid_o(align_valid),
    .ready_i(align_ready),
    .data_o(align_q)
  );

  // Addition ---------------------------------------------------------------------------------------------------------
  typedef struct packed {
    context_t            ctx;
    logic                negative;  // the addend, subtracted, was the larger
    logic [MagWidth-1:0] mag;
  } total_t;

  total_t total_d, total_q;
  logic [MagWidth:0] product, addend, total;

  assign product = {{(MagWidth + 1 - ProductWidth - 3) {1'b0}}, align_q.product, 3'b0};
  assign addend  = {1'b0, align_q.addend};
  assign total   = product + (addend ^ {(MagWidth + 1) {align_q.ctx.subtract}})
                   + {{MagWidth{1'b0}}, align_q.ctx.subtract};
  assign total_d = {align_q.ctx, total[MagWidth], MagWidth'(total[MagWidth] ? -total : total)};

  logic total_valid;
  pipe_stage #(
    .Width($bits(total_t)),
    .Stages(AddStages)
  ) u_total_stage (
    .clk_i,
    .rst_ni,
    .valid_i(align_valid),
    .ready_o(align_ready),
    .data_i(total_d),
    .valid_o(total_valid),
    .ready_i,
    .data_o(total_q)
  );

  // Rounding ---------------------------------------------------------------------------------------------------------
  localparam int unsigned CountWidth = $clog2(MagWidth);

  logic [CountWidth-1:0] zeros;
  logic zero, result_sign;
  logic [MagWidth-1:0] normalized;
  logic signed [13:0] exponent;
  logic [Width-1:0] rounded;
  fflags_t rounded_flags;

  lzc #(
    .Width(MagWidth)
  ) u_lzc (
    .in_i(total_q.mag),
    .count_o(zeros),
    .empty_o(zero)
  );
  assign normalized = total_q.mag << zeros;
  assign exponent   = total_q.ctx.exponent - $signed({{(14 - CountWidth) {1'b0}}, zeros});

  // A difference that is zero is positive, but when rounding down.
  assign result_sign = (zero & total_q.ctx.subtract) ? (total_q.ctx.rm == RDN) : (total_q.ctx.sign ^ total_q.negative);

  vector_round #(
    .Width(Width)
  ) u_round (
    .sign_i(result_sign),
    .exponent_i(exponent),
    .significand_i({normalized[MagWidth-1-:Precision+1], |normalized[MagWidth-Precision-2:0]}),
    .fmt_i(total_q.ctx.fmt),
    .rm_i(total_q.ctx.rm),
    .to_odd_i(1'b0),
    .saturate_i(1'b0),
    .result_o(rounded),
    .flags_o(rounded_flags)
  );

  logic [63:0] special;
  assign special = special_code(total_q.ctx.fmt, total_q.ctx.nan, total_q.ctx.sign);

  always_comb begin
    result_o = rounded;
    flags_o  = rounded_flags;
    if (total_q.ctx.nan || total_q.ctx.infinite) begin
      result_o   = special[Width-1:0];
      flags_o    = '0;
      flags_o.nv = total_q.ctx.invalid;
    end
  end

  assign valid_o = total_valid;
  assign tag_o   = total_q.ctx.tag;

  // Of wider formats, and what a factor's sign and an addend's being zero do not tell.
  logic unused;
  assign unused = ^{special, b, c};

endmodule
