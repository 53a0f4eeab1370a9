// BF16 fused multiply-add a * b + c: exact until one rounding (IEEE 754-2019, RISC-V flags and NaN).
//
// The baseline of the VMXDOTP lane's area, built from the same cells. Latency registers
// divide the sum; one operation may enter in every cycle.
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

  localparam int unsigned Precision = 8;

  typedef struct packed {
    logic [TagWidth-1:0] tag;
    logic                special;  // the result is known already
    logic                invalid;
    logic [15:0]         result;   // the special one
  } context_t;

  logic a_normal, b_normal, c_normal;
  logic [Precision-1:0] a_mant, b_mant, c_mant;

  assign a_normal = |a_i[14:7];
  assign b_normal = |b_i[14:7];
  assign c_normal = |c_i[14:7];
  assign a_mant   = {a_normal, a_i[6:0]};
  assign b_mant   = {b_normal, b_i[6:0]};
  assign c_mant   = {c_normal, c_i[6:0]};

  // Subnormal numbers have the exponent of the smallest normal one.
  logic signed [10:0] product_exponent, addend_exponent;
  assign product_exponent = $signed({3'b0, a_i[14:7]}) + $signed({3'b0, b_i[14:7]})
                            + $signed({10'b0, ~a_normal}) + $signed({10'b0, ~b_normal}) - 11'sd127;
  assign addend_exponent  = $signed({3'b0, c_i[14:7]}) + $signed({10'b0, ~c_normal});

  context_t given, ctx;
  assign given.tag = tag_i;

  bf16_fma_special u_special (
    .a_i,
    .b_i,
    .c_i,
    .active_o(given.special),
    .result_o(given.result),
    .invalid_o(given.invalid)
  );

  logic sign;
  logic signed [10:0] exponent;
  logic [Precision+1:0] significand;
  rm_e rm;
  logic [31:0] rounded;
  fflags_t rounded_flags;

  fma_sum #(
    .Precision(Precision),
    .ExponentWidth(11),
    .Latency(Latency),
    .ContextWidth($bits(context_t))
  ) u_sum (
    .clk_i,
    .rst_ni,
    .valid_i,
    .ready_o,
    .a_i(a_mant),
    .b_i(b_mant),
    .c_i(c_mant),
    .product_exponent_i(product_exponent),
    .addend_exponent_i(addend_exponent),
    .product_zero_i(a_mant == '0 || b_mant == '0),
    .sign_i(a_i[15] ^ b_i[15]),
    .subtract_i(a_i[15] ^ b_i[15] ^ c_i[15]),
    .rm_i,
    .context_i(given),
    .valid_o,
    .ready_i,
    .sign_o(sign),
    .exponent_o(exponent),
    .significand_o(significand),
    .rm_o(rm),
    .context_o(ctx)
  );

  fp_round #(
    .ExactTininess(1'b1)
  ) u_round (
    .sign_i(sign),
    .exponent_i(exponent),
    .significand_i({significand, 16'b0}),
    .fmt_i(BF16),
    .rm_i(rm),
    .result_o(rounded),
    .flags_o(rounded_flags)
  );

  always_comb begin
    result_o = rounded[31:16];
    flags_o  = rounded_flags;
    if (ctx.special) begin
      result_o   = ctx.result;
      flags_o    = '0;
      flags_o.nv = ctx.invalid;
    end
  end

  assign tag_o = ctx.tag;

  // The lower half of an FP32 word holds no BF16 bits.
  logic unused;
  assign unused = ^rounded[15:0];

endmodule
