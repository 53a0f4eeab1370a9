// The exact fixed-point sum of a lane's products, with SumFraction bits below the binary point.
module mxdotp_sum
  import mxdotp_pkg::*;
#(
  parameter int unsigned ProductWidth = 8
) (
  input  logic [Elements-1:0]                   sign_i,
  input  logic [Elements-1:0][ProductWidth-1:0] product_i,
  input  logic [Elements-1:0][5:0]              shift_i,
  input  logic signed [11:0]                    high_i,
  output logic signed [SumWidth-1:0]            sum_o
);

  // Negative terms enter as one's complements; what they lack is counted and added once.
  logic signed [SumWidth-1:0] sum;
  logic [SumWidth-1:0] term;
  logic [3:0] negatives;

  always_comb begin
    sum = {{(SumWidth - 12 - (SumFraction - 2)) {high_i[11]}}, high_i, {(SumFraction - 2) {1'b0}}};
    negatives = '0;
    term = '0;
    for (int i = 0; i < Elements; i++) begin
      term = SumWidth'(product_i[i]) << shift_i[i];
      sum = sum + $signed(term ^ {SumWidth{sign_i[i]}});
      negatives = negatives + {3'b0, sign_i[i]};
    end
    sum = sum + $signed({{(SumWidth - 4) {1'b0}}, negatives});
  end

  assign sum_o = sum;

endmodule
