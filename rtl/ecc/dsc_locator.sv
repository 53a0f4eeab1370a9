// Wrong symbols of RS(12,8) over GF(16) from the key equation: all twelve positions are tried at once.
//
// Two roots have two non-zero values: were one zero, the determinant would be zero, too. So nothing more is checked.
module dsc_locator
  import potluck_ecc_pkg::*;
(
  input  logic            clean_i,  // all power sums are zero
  input  logic [3:0]      sum0_i,
  input  logic [3:0]      sum1_i,
  input  logic [3:0]      determinant_i,
  input  logic [3:0]      linear_i,
  input  logic [3:0]      constant_i,
  output logic [7:0][3:0] error_o,  // of the data symbols
  output status_e         status_o
);

  localparam int unsigned Length = 12;

  logic [Length-1:0] one, root, hit;
  logic one_possible, two_possible, two;

  assign two_possible = |determinant_i;
  assign one_possible = ~two_possible & ~(|linear_i) & ~(|constant_i) & (|sum0_i);

  for (genvar i = 0; i < Length; i++) begin : gen_position
    localparam logic [3:0] X = DSC_LOCATORS[i];
    assign one[i]  = gf16_mul(sum0_i, X) == sum1_i;
    assign root[i] = (gf16_mul(determinant_i, gf16_mul(X, X)) ^ gf16_mul(linear_i, X)) == constant_i;
  end

  // A quadratic has no third root.
  always_comb begin
    two = 1'b0;
    for (int unsigned i = 1; i < Length; i++) begin
      for (int unsigned j = 0; j < i; j++) two |= root[i] & root[j];
    end
    two &= two_possible;
  end

  assign hit = (root & {Length{two}}) | (one & {Length{one_possible}});

  // The value at locator X is (sum1 + sum0 X) / (X + Y) + sum0 of two wrong symbols, sum0 of one.
  logic [3:0] inverse, offset, slope;
  assign inverse = gf16_mul(determinant_i, GF16_INVERSE[linear_i]) & {4{two_possible}};
  assign offset  = gf16_mul(sum1_i, inverse) ^ sum0_i;
  assign slope   = gf16_mul(sum0_i, inverse);

  for (genvar i = 0; i < 8; i++) begin : gen_value
    assign error_o[i] = {4{hit[i]}} & (offset ^ gf16_mul(slope, DSC_LOCATORS[i]));
  end

  always_comb begin
    if (clean_i) status_o = CLEAN;
    else if (|hit) status_o = CORRECTED;
    else status_o = DUE;
  end

endmodule
