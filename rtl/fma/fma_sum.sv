// The sum of a fused multiply-add, a * b + c as significands with exponents: exact, and normalized for the one rounding
// that follows. Latency registers divide multiplication, alignment and addition; one operation may enter in every cycle.
//
// An operation whose result is known already passes like any other; nothing subtracted, its sign comes out as it went
// in. Subnormal numbers have the exponent of the smallest normal one.
module fma_sum
  import fp_pkg::*;
#(
  parameter int unsigned Precision     = 24,  // bits of a significand
  parameter int unsigned ExponentWidth = 11,  // signed, with room for the sum's highest bit
  parameter int unsigned Latency       = 3,
  parameter int unsigned ContextWidth  = 1
) (
  input  logic                            clk_i,
  input  logic                            rst_ni,

  input  logic                            valid_i,
  output logic                            ready_o,
  input  logic        [Precision-1:0]     a_i,
  input  logic        [Precision-1:0]     b_i,
  input  logic        [Precision-1:0]     c_i,
  input  logic signed [ExponentWidth-1:0] product_exponent_i,
  input  logic signed [ExponentWidth-1:0] addend_exponent_i,
  input  logic                            product_zero_i,
  input  logic                            sign_i,      // of the product
  input  logic                            subtract_i,  // the addend has the other sign
  input  rm_e                             rm_i,
  input  logic        [ContextWidth-1:0]  context_i,

  output logic                            valid_o,
  input  logic                            ready_i,
  output logic                            sign_o,
  output logic signed [ExponentWidth-1:0] exponent_o,     // of the significand's highest bit
  output logic        [Precision+1:0]     significand_o,  // with a round bit and one that collects what is below it
  output rm_e                             rm_o,
  output logic        [ContextWidth-1:0]  context_o
);

  // The registers are dealt out as in the VMXDOTP lane: after the alignment, the addition, the multiplier.
  localparam int unsigned AlignStages = (Latency + 2) / 3;
  localparam int unsigned AddStages = (Latency + 1) / 3;
  localparam int unsigned ProductStages = Latency / 3;

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
    logic [ContextWidth-1:0]         given;
    rm_e                             rm;
    logic                            sign;
    logic                            subtract;
    logic signed [ExponentWidth-1:0] exponent;  // of the sum's highest bit
  } context_t;

  // Product and exponents --------------------------------------------------------------------------------------------
  typedef struct packed {
    context_t                ctx;
    logic [ProductWidth-1:0] product;
    logic [Precision-1:0]    addend;
    logic [ShiftWidth-1:0]   shift;  // of the addend, to the right of the leftmost place
  } product_t;

  product_t product_d, product_q;

  // An addend that stands higher than the leftmost place stays there: the product then is less than a quarter of its
  // last bit and only has to be seen. So does any addend of a product that is zero.
  logic signed [ExponentWidth-1:0] shift;
  logic far;
  assign shift = ExponentWidth'(Precision + 3) + product_exponent_i - addend_exponent_i;
  assign far   = shift[ExponentWidth-1] | product_zero_i;

  always_comb begin
    product_d.ctx.given    = context_i;
    product_d.ctx.rm       = rm_i;
    product_d.ctx.sign     = sign_i;
    product_d.ctx.subtract = subtract_i;
    product_d.ctx.exponent = far ? addend_exponent_i : product_exponent_i + ExponentWidth'(Precision + 3);
    product_d.product      = ProductWidth'(a_i) * ProductWidth'(b_i);
    product_d.addend       = c_i;
    product_d.shift        = shift[ShiftWidth-1:0];
    if (shift > ExponentWidth'(MaxShift)) product_d.shift = ShiftWidth'(MaxShift);
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

  pipe_stage #(
    .Width($bits(total_t)),
    .Stages(AddStages)
  ) u_total_stage (
    .clk_i,
    .rst_ni,
    .valid_i(align_valid),
    .ready_o(align_ready),
    .data_i(total_d),
    .valid_o,
    .ready_i,
    .data_o(total_q)
  );

  // Normalization ----------------------------------------------------------------------------------------------------
  localparam int unsigned CountWidth = $clog2(MagWidth);

  logic [CountWidth-1:0] zeros;
  logic zero;
  logic [MagWidth-1:0] normalized;

  lzc #(
    .Width(MagWidth)
  ) u_lzc (
    .in_i(total_q.mag),
    .count_o(zeros),
    .empty_o(zero)
  );
  assign normalized    = total_q.mag << zeros;
  assign significand_o = {normalized[MagWidth-1-:Precision+1], |normalized[MagWidth-Precision-2:0]};
  assign exponent_o    = total_q.ctx.exponent - $signed({{(ExponentWidth - CountWidth) {1'b0}}, zeros});

  // A difference that is zero is positive, but when rounding down.
  assign sign_o    = (zero & total_q.ctx.subtract) ? (total_q.ctx.rm == RDN) : (total_q.ctx.sign ^ total_q.negative);
  assign rm_o      = total_q.ctx.rm;
  assign context_o = total_q.ctx.given;

endmodule
