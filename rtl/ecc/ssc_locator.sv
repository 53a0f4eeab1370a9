// The wrong symbol of the doubly extended RS(10,8) over GF(256): one power sum alone accuses its own check symbol, both
// a data symbol.
module ssc_locator
  import potluck_ecc_pkg::*;
(
  input  logic [7:0]      sum0_i,
  input  logic [7:0]      sum1_i,
  output logic [7:0][7:0] error_o,  // of the data symbols
  output status_e         status_o
);

  logic [7:0] hit;

  for (genvar i = 0; i < 8; i++) begin : gen_position
    assign hit[i]     = gf256_mul(sum0_i, SSC_LOCATORS[i]) == sum1_i;  // all of them if both are zero
    assign error_o[i] = sum0_i & {8{hit[i]}};
  end

  always_comb begin
    if (!(|sum0_i) && !(|sum1_i)) status_o = CLEAN;
    else if ((|hit) || !(|sum0_i) || !(|sum1_i)) status_o = CORRECTED;
    else status_o = DUE;
  end

endmodule
