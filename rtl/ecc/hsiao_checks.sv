// Check bits of the Hsiao code with that many data bits (32, 64, 128 or 256), and its columns for a decoder.
module hsiao_checks
  import potluck_ecc_pkg::*;
#(
  parameter int unsigned DataBits = 64,
  localparam int unsigned CheckBits = hsiao_check_bits(DataBits)
) (
  input  logic [DataBits-1:0]                data_i,
  output logic [CheckBits-1:0]               checks_o,
  output logic [DataBits-1:0][CheckBits-1:0] columns_o  // constant
);

  if (CheckBits == 0) begin : gen_unknown
    $error("no Hsiao code of %0d data bits", DataBits);
  end

  typedef logic [DataBits-1:0][CheckBits-1:0] columns_t;

  function automatic columns_t columns();
    columns_t all;
    for (int unsigned b = 0; b < DataBits; b++) all[b] = CheckBits'(hsiao_column(DataBits, b));
    return all;
  endfunction

  localparam columns_t Columns = columns();

  xor_matrix #(
    .Inputs(DataBits),
    .Outputs(CheckBits),
    .Columns(Columns)
  ) u_matrix (
    .in_i(data_i),
    .out_o(checks_o)
  );

  assign columns_o = Columns;

endmodule
