// A whole processing element: decoder and shifter, or the multiplier of the INT8 baseline, with the same ports. In a
// vector unit four rows share the decoder.
module pot_pe
  import potluck_pot_pkg::*;
#(
  parameter int unsigned CodeSet = SET_ANY,  // a code_set_e; SET_INT8; SET_ANY: the one that code_set_i says
  localparam int unsigned WeightBits = (CodeSet == SET_INT8) ? 8 : 4
) (
  input  logic signed [7:0]     activation_i,
  input  logic [WeightBits-1:0] weight_i,
  input  code_set_e             code_set_i,
  output logic signed [15:0]    product_o,  // signed; without the sign of a PoT weight
  output logic                  subtract_o
);

  logic [7:0] control;

  weight_decoder #(
    .CodeSet(CodeSet)
  ) u_decoder (
    .weight_i,
    .code_set_i,
    .control_o(control),
    .subtract_o
  );

  if (CodeSet == SET_INT8) begin : gen_int8
    multiplier_pe u_multiplier (
      .activation_i,
      .control_i(control),
      .product_o
    );
  end else begin : gen_pot
    logic signed [14:0] product;
    shift_pe #(
      .CodeSet(CodeSet)
    ) u_shift (
      .activation_i,
      .control_i(control),
      .product_o(product)
    );
    assign product_o = 16'(product);
  end

endmodule
