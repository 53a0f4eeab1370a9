// Results of a BF16 multiply-add that no sum decides: NaN and infinite operands (RISC-V F extension: NaN results are
// canonical; infinity times zero is invalid whatever the addend, section "NaN generation and propagation").
module bf16_fma_special (
  input  logic [15:0] a_i,
  input  logic [15:0] b_i,
  input  logic [15:0] c_i,
  output logic        active_o,
  output logic [15:0] result_o,
  output logic        invalid_o
);

  import fp_pkg::CanonicalNan;

  logic [2:0][15:0] operand;
  logic [2:0] nan, signalling, inf;

  assign operand = {c_i, b_i, a_i};
  for (genvar i = 0; i < 3; i++) begin : gen_class
    assign nan[i]        = (&operand[i][14:7]) & (|operand[i][6:0]);
    assign signalling[i] = nan[i] & ~operand[i][6];
    assign inf[i]        = (&operand[i][14:7]) & ~(|operand[i][6:0]);
  end

  logic a_zero, b_zero, product_sign, product_inf, inf_zero;
  assign a_zero       = ~(|a_i[14:0]);
  assign b_zero       = ~(|b_i[14:0]);
  assign product_sign = a_i[15] ^ b_i[15];
  assign product_inf  = inf[0] | inf[1];
  assign inf_zero     = (inf[0] & b_zero) | (a_zero & inf[1]);

  assign invalid_o = (|signalling) | inf_zero | (~(|nan) & product_inf & inf[2] & (product_sign ^ c_i[15]));
  assign active_o  = (|nan) | (|inf);
  assign result_o  = ((|nan) | invalid_o) ? CanonicalNan[31:16]
                     : {product_inf ? product_sign : c_i[15], 8'hFF, 7'b0};

endmodule
