// Values of the wrong symbols of RS(12,8) over GF(16), and the decision.
//
// A pair needs two roots; a quadratic has no third. Two roots have two non-zero values, for were one zero, so would the
// determinant be: nothing more is checked. For one wrong symbol the determinant, and with it the slope, is zero.
module dsc_values
  import potluck_ecc_pkg::*;
(
  input  logic            clean_i,  // all power sums are zero
  input  logic            pair_i,
  input  logic [11:0]     accused_i,
  input  logic [3:0]      offset_i,
  input  logic [3:0]      slope_i,
  output logic [7:0][3:0] error_o,  // of the data symbols
  output status_e         status_o
);

  logic several, found;

  always_comb begin
    several = 1'b0;
    for (int unsigned i = 1; i < 12; i++) begin
      for (int unsigned j = 0; j < i; j++) several |= accused_i[i] & accused_i[j];
    end
  end

  assign found = pair_i ? several : |accused_i;

  for (genvar i = 0; i < 8; i++) begin : gen_value
    assign error_o[i] = {4{accused_i[i] & found}} & (offset_i ^ gf16_mul(slope_i, DSC_LOCATORS[i]));
  end

  always_comb begin
    if (clean_i) status_o = CLEAN;
    else if (found) status_o = CORRECTED;
    else status_o = DUE;
  end

endmodule
