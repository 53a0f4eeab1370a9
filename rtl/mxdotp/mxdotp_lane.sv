// One VMXDOTP lane: acc + 2^(scale_a - 127) * 2^(scale_b - 127) * sum of a_j * b_j, exact until one rounding.
//
// A BF16 accumulator or result lies in the upper half of its 32 bits. Latency registers (3 in the modeled machine)
// divide multiplication, summation, addition and rounding; one operation may enter in every cycle. A format that
// the lane was not built for gives the result of another one; the decoder does not issue it.
`include "assertions.svh"

module mxdotp_lane
  import fp_pkg::*;
  import mxdotp_pkg::*;
#(
  parameter bit EnableFp8  = 1'b1,  // E5M2, E4M3
  parameter bit EnableFp6  = 1'b0,  // E3M2, E2M3: one element in the low bits of each byte
  parameter bit EnableFp4  = 1'b1,  // E2M1
  parameter bit EnableInt8 = 1'b0,  // MXINT8: multiples of 2^-6
  parameter int unsigned Latency  = 3,
  parameter int unsigned TagWidth = 1
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,

  input  logic                    valid_i,
  output logic                    ready_o,
  input  logic [OperandWidth-1:0] a_i,
  input  logic [OperandWidth-1:0] b_i,
  input  logic [7:0]              scale_a_i,
  input  logic [7:0]              scale_b_i,
  input  logic [31:0]             acc_i,
  input  elem_fmt_e               elem_fmt_i,
  input  fp_fmt_e                 acc_fmt_i,
  input  rm_e                     rm_i,
  input  logic [TagWidth-1:0]     tag_i,

  output logic                    valid_o,
  input  logic                    ready_i,
  output logic [31:0]             result_o,
  output fflags_t                 flags_o,
  output logic [TagWidth-1:0]     tag_o
);

  // The registers are dealt out in this order: after the sum, after the addition, after the multipliers.
  localparam int unsigned SumStages = (Latency + 2) / 3;
  localparam int unsigned AddStages = (Latency + 1) / 3;
  localparam int unsigned ProductStages = Latency / 3;

  localparam int unsigned ProductWidth = EnableInt8 ? 16 : 8;

  // What accompanies an operation all along.
  typedef struct packed {
    logic [TagWidth-1:0] tag;
    fp_fmt_e             acc_fmt;
    rm_e                 rm;
    logic signed [9:0]   scale;     // of the products: 2^scale
    logic                special;   // the result is known already
    logic                invalid;
    logic [31:0]         acc;       // or the special result
  } context_t;

  // Products ---------------------------------------------------------------------------------------------------------
  typedef struct packed {
    context_t                              ctx;
    logic [Elements-1:0]                   sign;
    logic [Elements-1:0][ProductWidth-1:0] product;
    logic [Elements-1:0][5:0]              shift;
    logic [11:0]                           high;
  } products_t;

  products_t products_d, products_q;
  special_t special;
  logic [31:0] acc, special_result;
  logic special_active, special_invalid;

  assign acc = (acc_fmt_i == BF16) ? {acc_i[31:16], 16'b0} : acc_i;

  logic [Elements-1:0] product_sign;
  logic [Elements-1:0][ProductWidth-1:0] product;
  logic [Elements-1:0][5:0] product_shift;
  logic signed [11:0] product_high;

  mxdotp_products #(
    .EnableFp8(EnableFp8),
    .EnableFp6(EnableFp6),
    .EnableFp4(EnableFp4),
    .EnableInt8(EnableInt8),
    .ProductWidth(ProductWidth)
  ) u_products (
    .a_i,
    .b_i,
    .fmt_i(elem_fmt_i),
    .sign_o(product_sign),
    .product_o(product),
    .shift_o(product_shift),
    .high_o(product_high),
    .special_o(special)
  );

  mxdotp_special u_special (
    .acc_i(acc),
    .elements_i(special),
    .scale_nan_i((&scale_a_i) | (&scale_b_i)),
    .active_o(special_active),
    .result_o(special_result),
    .invalid_o(special_invalid)
  );

  always_comb begin
    products_d.ctx.tag     = tag_i;
    products_d.ctx.acc_fmt = acc_fmt_i;
    products_d.ctx.rm      = rm_i;
    products_d.ctx.scale   = {2'b0, scale_a_i} + {2'b0, scale_b_i} - 10'd254;
    products_d.ctx.special = special_active;
    products_d.ctx.invalid = special_invalid;
    products_d.ctx.acc     = special_active ? special_result : acc;
    products_d.sign        = product_sign;
    products_d.product     = product;
    products_d.shift       = product_shift;
    products_d.high        = product_high;
  end

  logic products_valid, products_ready;
  pipe_stage #(
    .Width($bits(products_t)),
    .Stages(ProductStages)
  ) u_products_stage (
    .clk_i,
    .rst_ni,
    .valid_i,
    .ready_o,
    .data_i(products_d),
    .valid_o(products_valid),
    .ready_i(products_ready),
    .data_o(products_q)
  );

  // Sum of products --------------------------------------------------------------------------------------------------
  typedef struct packed {
    context_t            ctx;
    logic [SumWidth-1:0] sum;
  } sum_t;

  sum_t sum_d, sum_q;
  logic signed [SumWidth-1:0] sum;

  mxdotp_sum #(
    .ProductWidth(ProductWidth)
  ) u_sum (
    .sign_i(products_q.sign),
    .product_i(products_q.product),
    .shift_i(products_q.shift),
    .high_i($signed(products_q.high)),
    .sum_o(sum)
  );
  assign sum_d = {products_q.ctx, sum};

  logic sum_valid, sum_ready;
  pipe_stage #(
    .Width($bits(sum_t)),
    .Stages(SumStages)
  ) u_sum_stage (
    .clk_i,
    .rst_ni,
    .valid_i(products_valid),
    .ready_o(products_ready),
    .data_i(sum_d),
    .valid_o(sum_valid),
    .ready_i(sum_ready),
    .data_o(sum_q)
  );

  // Addition ---------------------------------------------------------------------------------------------------------
  typedef struct packed {
    context_t            ctx;
    logic                keep;
    logic                keep_inexact;
    logic                sign;
    logic [MagWidth-1:0] mag;
  } total_t;

  total_t total_d, total_q;
  logic [7:0] acc_field;
  logic acc_normal;
  logic signed [9:0] distance;
  logic keep, keep_inexact, total_sign;
  logic [MagWidth-1:0] total_mag;

  // A subnormal accumulator has the exponent of the smallest normal one; zero has one less.
  assign acc_normal = |sum_q.ctx.acc[30:23];
  assign acc_field  = acc_normal ? sum_q.ctx.acc[30:23] : {7'b0, |sum_q.ctx.acc[22:0]};
  assign distance   = 10'sd11 - sum_q.ctx.scale + $signed({2'b0, acc_field}) - 10'sd127;

  mxdotp_add u_add (
    .acc_sign_i(sum_q.ctx.acc[31]),
    .acc_mant_i({acc_normal, sum_q.ctx.acc[22:0]}),
    .distance_i(distance),
    .sum_i($signed(sum_q.sum)),
    .keep_o(keep),
    .inexact_o(keep_inexact),
    .sign_o(total_sign),
    .mag_o(total_mag)
  );
  assign total_d = {sum_q.ctx, keep, keep_inexact, total_sign, total_mag};

  logic total_valid;
  pipe_stage #(
    .Width($bits(total_t)),
    .Stages(AddStages)
  ) u_total_stage (
    .clk_i,
    .rst_ni,
    .valid_i(sum_valid),
    .ready_o(sum_ready),
    .data_i(total_d),
    .valid_o(total_valid),
    .ready_i,
    .data_o(total_q)
  );

  // Rounding ---------------------------------------------------------------------------------------------------------
  localparam int unsigned CountWidth = $clog2(MagWidth);
  // The exponent field of a number whose highest bit is the magnitude's highest.
  localparam int unsigned TopField = MagWidth - 1 - AddFraction - SumFraction + 127;

  logic [CountWidth-1:0] zeros;
  logic zero;
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
  assign exponent   = 11'(TopField) - $signed({4'b0, zeros}) + 11'(total_q.ctx.scale);

  fp_round u_round (
    .sign_i(total_q.sign & ~zero),
    .exponent_i(exponent),
    .significand_i({normalized[MagWidth-1-:25], |normalized[MagWidth-26:0]}),
    .fmt_i(total_q.ctx.acc_fmt),
    .rm_i(total_q.ctx.rm),
    .result_o(rounded),
    .flags_o(rounded_flags)
  );

  always_comb begin
    result_o = rounded;
    flags_o  = rounded_flags;
    if (total_q.ctx.special) begin
      result_o   = total_q.ctx.acc;
      flags_o    = '0;
      flags_o.nv = total_q.ctx.invalid;
    end else if (total_q.keep) begin
      result_o   = total_q.ctx.acc;
      flags_o    = '0;
      flags_o.nx = total_q.keep_inexact;
    end
  end

  assign valid_o = total_valid;
  assign tag_o   = total_q.ctx.tag;

  `POTLUCK_ASSERT(FormatEnabled, valid_i |-> (EnableFp8 && (elem_fmt_i inside {E5M2, E4M3}))
      || (EnableFp6 && (elem_fmt_i inside {E3M2, E2M3}))
      || (EnableFp4 && elem_fmt_i == E2M1) || (EnableInt8 && elem_fmt_i == INT8))

endmodule
