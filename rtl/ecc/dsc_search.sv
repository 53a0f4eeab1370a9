// Which symbols of RS(12,8) over GF(16) the key equation accuses: all twelve positions are tried at once.
module dsc_search
  import potluck_ecc_pkg::*;
(
  input  logic [3:0]  sum0_i,
  input  logic [3:0]  sum1_i,
  input  logic [3:0]  determinant_i,
  input  logic [3:0]  linear_i,
  input  logic [3:0]  constant_i,
  output logic        pair_o,     // two symbols are wrong or more, otherwise one or more
  output logic [11:0] accused_o,
  output logic [3:0]  offset_o,   // the value at locator X would be offset + slope * X
  output logic [3:0]  slope_o
);

  logic one_possible;

  assign pair_o       = |determinant_i;
  assign one_possible = ~(|linear_i) & (|sum0_i);  // the constant is zero then, too

  for (genvar i = 0; i < 12; i++) begin : gen_position
    localparam logic [3:0] X = DSC_LOCATORS[i];
    logic one, root;
    assign one  = one_possible & (gf16_mul(sum0_i, X) == sum1_i);
    assign root = (gf16_mul(determinant_i, gf16_mul(X, X)) ^ gf16_mul(linear_i, X)) == constant_i;
    assign accused_o[i] = pair_o ? root : one;
  end

  // Of two wrong symbols at X and Y it is (sum1 + sum0 X) / (X + Y) + sum0, of one sum0.
  logic [3:0] inverse;
  assign inverse  = gf16_mul(determinant_i, GF16_INVERSE[linear_i]);
  assign offset_o = gf16_mul(sum1_i, inverse) ^ sum0_i;
  assign slope_o  = gf16_mul(sum0_i, inverse);

endmodule
