// Product of a constant matrix and a vector over GF(2): each input bit that is set contributes its column.
module xor_matrix #(
  parameter int unsigned Inputs  = 8,
  parameter int unsigned Outputs = 8,
  parameter logic [Inputs-1:0][Outputs-1:0] Columns = '1
) (
  input  logic [Inputs-1:0]  in_i,
  output logic [Outputs-1:0] out_o
);

  typedef logic [Outputs-1:0][Inputs-1:0] rows_t;

  function automatic rows_t transposed();
    rows_t rows;
    for (int unsigned r = 0; r < Outputs; r++) begin
      for (int unsigned c = 0; c < Inputs; c++) rows[r][c] = Columns[c][r];
    end
    return rows;
  endfunction

  localparam rows_t Rows = transposed();

  for (genvar r = 0; r < Outputs; r++) begin : gen_row
    assign out_o[r] = ^(in_i & Rows[r]);
  end

endmodule
