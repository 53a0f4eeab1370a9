// Key equation of a code that corrects two symbols over GF(16), from its power sums. With locators X and Y of the wrong
// symbols, determinant * (x^2 + (X + Y) x + X Y) = determinant * x^2 + linear * x + constant; no division is needed to
// find the roots. One wrong symbol leaves all three zero.
module dsc_key
  import potluck_ecc_pkg::*;
(
  input  logic [3:0][3:0] sums_i,
  output logic [3:0]      determinant_o,
  output logic [3:0]      linear_o,
  output logic [3:0]      constant_o
);

  assign determinant_o = gf16_mul(sums_i[1], sums_i[1]) ^ gf16_mul(sums_i[0], sums_i[2]);
  assign linear_o      = gf16_mul(sums_i[0], sums_i[3]) ^ gf16_mul(sums_i[1], sums_i[2]);
  assign constant_o    = gf16_mul(sums_i[1], sums_i[3]) ^ gf16_mul(sums_i[2], sums_i[2]);

endmodule
