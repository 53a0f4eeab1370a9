// What a PE needs to know of a stored weight. One decoder serves the PEs of all rows.
module weight_decoder
  import potluck_pot_pkg::*;
#(
  parameter int unsigned CodeSet = SET_ANY,  // a code_set_e; SET_INT8; SET_ANY: the one that code_set_i says
  localparam int unsigned WeightBits = (CodeSet == SET_INT8) ? 8 : 4
) (
  input  logic [WeightBits-1:0] weight_i,
  input  code_set_e             code_set_i,
  output logic [7:0]            control_o,  // of a shift_pe or a multiplier_pe
  output logic                  subtract_o  // the accumulator is to subtract the product
);

  if (CodeSet == SET_INT8) begin : gen_int8
    assign control_o  = weight_i;
    assign subtract_o = 1'b0;
  end else begin : gen_pot
    logic [2:0] magnitude;
    assign {subtract_o, magnitude} = weight_i;
    if (CodeSet == SET_ANY) begin : gen_any
      assign control_o = {2'b0, LEVEL_PRESENT[code_set_i][magnitude], LEVEL_ODD[code_set_i][magnitude],
                          LEVEL_SHIFT[code_set_i][magnitude]};
    end else begin : gen_one
      assign control_o = {5'b0, magnitude};
    end
  end

  if (CodeSet != SET_ANY) begin : gen_unused
    logic unused;
    assign unused = ^code_set_i;
  end

endmodule
