// int8 times int8: the baseline of the shift-PEs, by radix-4 Booth rows along carry chains or as synthesis makes it of
// an operator, which takes three times as many LUTs.
module multiplier_pe #(
  parameter bit Booth = 1'b1
) (
  input  logic signed [7:0]  activation_i,
  input  logic [7:0]         control_i,  // the weight
  output logic signed [15:0] product_o
);

  if (!Booth) begin : gen_operator
    assign product_o = 16'(activation_i) * 16'($signed(control_i));
  end else begin : gen_booth
    logic [8:0] digits;
    assign digits = {control_i, 1'b0};

    logic [3:0][9:0] row;  // activation times -2 to 2, less one if negative
    logic [3:0] negative;
    for (genvar i = 0; i < 4; i++) begin : gen_row
      logic [2:0] digit;
      logic signed [9:0] magnitude;
      assign digit       = digits[2*i+2:2*i];
      assign negative[i] = digit[2];
      assign magnitude   = (digit[1] ^ digit[0]) ? 10'(activation_i)
                         : (digit == 3'b011 || digit == 3'b100) ? 10'(activation_i) <<< 1 : 10'sd0;
      assign row[i]      = magnitude ^ {10{negative[i]}};
    end

    // Each sum gives two bits of the product; the rest meets the next row.
    logic signed [11:0] sum[4];
    assign sum[0] = 12'($signed(row[0])) + $signed({11'b0, negative[0]});
    for (genvar i = 1; i < 4; i++) begin : gen_sum
      assign sum[i] = (sum[i-1] >>> 2) + 12'($signed(row[i])) + $signed({11'b0, negative[i]});
    end

    assign product_o = {sum[3][9:0], sum[2][1:0], sum[1][1:0], sum[0][1:0]};

    // No sum of rows has more bits than the product.
    logic unused;
    assign unused = ^sum[3][11:10];
  end

endmodule
