// BF16 fused multiply-add a * b + c: exact until one rounding (IEEE 754-2019, RISC-V flags and NaN).
//
// The baseline of the VMXDOTP lane's area, built from the same cells. Latency registers divide multiplication,
// alignment, addition and rounding; one operation may enter in every cycle.
`include "assertions.svh"

module bf16_fma
  import fp_pkg::*;
#(
  parameter int unsigned Latency  = 3,
  parameter int unsigned TagWidth = 1
) (
  input  logic                clk_i,
  input  logic                rst_ni,

  input  logic                valid_i,
  output logic                ready_o,
  input  logic [15:0]         a_i,
  input  logic [15:0]         b_i,
  input  logic [15:0]         c_i,
  input  rm_e                 rm_i,
  input  logic [TagWidth-1:0] tag_i,

  output logic                valid_o,
  input  logic                ready_i,
  output logic [15:0]         result_o,
  output fflags_t             flags_o,
  output logic [TagWidth-1:0] tag_o
);

  // The registers are dealt out as in the VMXDOTP lane: after the alignment, the addition, the multiplier.
  localparam int unsigned AlignStages = (Latency + 2) / 3;
  localparam int unsigned AddStages = (Latency + 1) / 3;
  localparam int unsigned ProductStages = Latency / 3;

  localparam int unsigned Precision = 8;
  localparam int unsigned ProductWidth = 2 * Precision;
  // Two bits below the product: one that cancelling brings into the significand, and a round bit. Two bits between
  // the product and an addend in the leftmost place, for the same reason.
  localparam int unsigned SumWidth = 3 * Precision + 4;
  localparam int unsigned MaxShift = SumWidth;  // to where all of the addend lies below the sum
  localparam int unsigned ShiftWidth = $clog2(MaxShift + 1);
  // One bit more for what the addend has below the sum.
  localparam int unsigned MagWidth = SumWidth + 1;

  // What accompanies an operation all along.
  typedef struct packed {
    logic [TagWidth-1:0] tag;
    rm_e                 rm;
    logic                special;   // the result is known already
    logic                invalid;
    logic [15:0]         result;    // the special one
    logic                sign;      // of the product
    logic                subtract;  // the addend has the other sign
    logic signed [10:0]  exponent;  // field of a number whose highest bit is the sum's highest
  } context_t;

  // Product and exponents --------------------------------------------------------------------------------------------
  typedef struct packed {
    context_t                ctx;
    logic [ProductWidth-1:0] product;
    logic [Precision-1:0]    addend;
    logic [ShiftWidth-1:0]   shift;  // of the addend, to the right of the leftmost place
  } product_t;

  product_t product_d, product_q;

  logic a_normal, b_normal, c_normal;
  logic [Precision-1:0] a_mant, b_mant, c_mant;
  logic a_zero, b_zero;

  assign a_normal = |a_i[14:7];
  assign b_normal = |b_i[14:7];
  assign c_normal = |c_i[14:7];
  assign a_mant   = {a_normal, a_i[6:0]};
  assign b_mant   = {b_normal, b_i[6:0]};
  assign c_mant   = {c_normal, c_i[6:0]};
  assign a_zero   = a_mant == '0;
  assign b_zero   = b_mant == '0;

  // Subnormal numbers have the exponent of the smallest normal one.
  logic signed [10:0] product_exponent, addend_exponent, shift;
  logic far;
  assign product_exponent = $signed({3'b0, a_i[14:7]}) + $signed({3'b0, b_i[14:7]})
                            + $signed({10'b0, ~a_normal}) + $signed({10'b0, ~b_normal}) - 11'sd127;
  assign addend_exponent  = $signed({3'b0, c_i[14:7]}) + $signed({10'b0, ~c_normal});

  // An addend that stands higher than the leftmost place stays there: the product then is less than a quarter of its
  // last bit and only has to be seen. So does any addend of a product that is zero.
  assign shift = 11'(Precision + 3) + product_exponent - addend_exponent;
  assign far   = shift[10] | a_zero | b_zero;

  logic special, invalid;
  logic [15:0] special_result;

  bf16_fma_special u_special (
    .a_i,
    .b_i,
    .c_i,
    .active_o(special),
    .result_o(special_result),
    .invalid_o(invalid)
  );

  always_comb begin
    product_d.ctx.tag      = tag_i;
    product_d.ctx.rm       = rm_i;
    product_d.ctx.special  = special;
    product_d.ctx.invalid  = invalid;
    product_d.ctx.result   = special_result;
    product_d.ctx.sign     = a_i[15] ^ b_i[15];
    product_d.ctx.subtract = a_i[15] ^ b_i[15] ^ c_i[15];
    product_d.ctx.exponent = far ? addend_exponent : product_exponent + 11'(Precision + 3);
    product_d.product      = ProductWidth'(a_mant) * ProductWidth'(b_mant);
    product_d.addend       = c_mant;
    product_d.shift        = shift[ShiftWidth-1:0];
    if (shift > 11'(MaxShift)) product_d.shift = ShiftWidth'(MaxShift);
    if (far) product_d.shift = '0;
  end

  logic product_valid, product_ready;
  pipe_stage #(
    .Width($bits(product_t)),
    .Stages(ProductStages)
  ) u_product_stage (
    .clk_i,
    .rst_ni,
    .valid_i,
    .ready_o,
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
  logic signed [10:0] exponent;
  logic [31:0] rounded;
  fflags_t rounded_flags;

  lzc #(
    .Width(MagWidth)
  ) u_lzc (
    .in_i(total_q.mag),
    .count_o(zeros),
    .empty_o(zero)
  );
  assign normalized = total_q.mag << zeros;
  assign exponent   = total_q.ctx.exponent - $signed({{(11 - CountWidth) {1'b0}}, zeros});

  // A difference that is zero is positive, but when rounding down.
  assign result_sign = (zero & total_q.ctx.subtract) ? (total_q.ctx.rm == RDN) : (total_q.ctx.sign ^ total_q.negative);

  fp_round #(
    .ExactTininess(1'b1)
  ) u_round (
    .sign_i(result_sign),
    .exponent_i(exponent),
    .significand_i({normalized[MagWidth-1-:Precision+1], |normalized[MagWidth-Precision-2:0], 16'b0}),
    .fmt_i(BF16),
    .rm_i(total_q.ctx.rm),
    .result_o(rounded),
    .flags_o(rounded_flags)
  );

  always_comb begin
    result_o = rounded[31:16];
    flags_o  = rounded_flags;
    if (total_q.ctx.special) begin
      result_o   = total_q.ctx.result;
      flags_o    = '0;
      flags_o.nv = total_q.ctx.invalid;
    end
  end

  assign valid_o = total_valid;
  assign tag_o   = total_q.ctx.tag;

  // The lower half of an FP32 word holds no BF16 bits.
  logic unused;
  assign unused = ^rounded[15:0];

endmodule
