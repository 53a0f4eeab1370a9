// Check symbols of RangeGuard's codes over eight data symbols: RS(12,8) over GF(16) for symbols of 4 bits (DSC), the
// doubly extended RS(10,8) over GF(256) for 8 bits (SSC). Combinational.
module rs_encoder
  import potluck_ecc_pkg::*;
#(
  parameter int unsigned SymbolBits = 4
) (
  input  logic [7:0][SymbolBits-1:0] symbols_i,
  output logic [15:0]                checks_o
);

  if (SymbolBits == 4) begin : gen_dsc
    xor_matrix #(
      .Inputs(32),
      .Outputs(16),
      .Columns(DSC_COLUMNS)
    ) u_matrix (
      .in_i(symbols_i),
      .out_o(checks_o)
    );
  end else if (SymbolBits == 8) begin : gen_ssc
    xor_matrix #(
      .Inputs(64),
      .Outputs(16),
      .Columns(SSC_COLUMNS)
    ) u_matrix (
      .in_i(symbols_i),
      .out_o(checks_o)
    );
  end else begin : gen_unknown
    $error("no RangeGuard code of symbols of %0d bits", SymbolBits);
  end

endmodule
