// A PE with its 32-bit accumulator, behind a decoder. Between the shifter and the accumulator is no register: the last
// multiplexer of a shifter then takes no LUTs beyond those of the addition.
module pot_mac
  import potluck_pot_pkg::*;
#(
  parameter int unsigned CodeSet = SET_ANY  // as of weight_decoder
) (
  input  logic              clk_i,
  input  logic              clear_i,  // before anything is added; nothing else gives the accumulator a value
  input  logic              enable_i,
  input  logic signed [7:0] activation_i,
  input  logic [7:0]        control_i,  // of weight_decoder
  input  logic              subtract_i,
  output logic [31:0]       acc_o
);

  logic signed [15:0] product;

  if (CodeSet == SET_INT8) begin : gen_int8
    multiplier_pe u_multiplier (
      .activation_i,
      .control_i,
      .product_o(product)
    );
  end else begin : gen_pot
    logic signed [14:0] magnitude;
    shift_pe #(
      .CodeSet(CodeSet)
    ) u_shift (
      .activation_i,
      .control_i,
      .product_o(magnitude)
    );
    assign product = 16'(magnitude);
  end

  // One carry chain adds and subtracts: the lowest place makes the carry of the two's complement.
  logic [31:0] acc_q, addend;
  logic [32:0] sum;
  assign addend = 32'(product) ^ {32{subtract_i}};
  assign sum    = {acc_q, 1'b1} + {addend, subtract_i};

  always_ff @(posedge clk_i) begin
    if (clear_i) acc_q <= '0;
    else if (enable_i) acc_q <= sum[32:1];
  end

  assign acc_o = acc_q;

  logic unused;
  assign unused = sum[0];

endmodule
