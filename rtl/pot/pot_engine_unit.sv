// The 64 PEs of one of the cluster's accelerator's units. Rows take a line one after the other, a cycle apart, so that the
// sums of a row are complete a cycle after those of the row before: one row of adder trees serves all four, and the next
// round follows without a gap. Accumulators go on through a computation: a round's sums are what they have gained since the
// round before. Sums run over depths, or over filters where these are planes of depthwise weights.
//
// A line enters in cycle 0, row r has it at the end of cycle 2 + r, and its sums may be asked for in the next one.
module pot_engine_unit
  import potluck_pot_pkg::*;
#(
  parameter int unsigned CodeSet = SET_ANY,  // or SET_INT8
  localparam int unsigned WeightBits = (CodeSet == SET_INT8) ? 8 : 4
) (
  input  logic                             clk_i,
  input  logic                             rst_ni,
  input  code_set_e                        code_set_i,
  input  logic                             transpose_i,
  input  logic                             clear_i,    // before a computation

  input  logic                             valid_i,
  input  logic [3:0]                       filters_i,  // those that count
  input  logic [3:0][3:0][7:0]             rows_i,     // of each row four depths
  input  logic [3:0][3:0][WeightBits-1:0]  weights_i,  // of each filter four depths

  input  logic                             row_valid_i,
  input  logic [1:0]                       row_i,
  output logic [3:0][31:0]                 sums_o  // of a row, two cycles after row_i
);

  // Registers of each row: valid, activations, and the weights' controls, which the next row takes a cycle later.
  logic [4:0] valid_q;
  logic [3:0] filters_q;
  logic [3:0][3:0][WeightBits-1:0] weights_q;
  logic [3:0][3:0][7:0] decoded, control_d;
  logic [3:0][3:0] subtracted, subtract_d;
  logic [3:0][3:0][3:0][7:0] control_q;   // of each row, filter, depth
  logic [3:0][3:0][3:0] subtract_q;

  for (genvar f = 0; f < 4; f++) begin : gen_filter
    for (genvar d = 0; d < 4; d++) begin : gen_depth
      weight_decoder #(
        .CodeSet(CodeSet)
      ) u_decoder (
        .weight_i(weights_q[f][d]),
        .code_set_i,
        .control_o(decoded[f][d]),
        .subtract_o(subtracted[f][d])
      );
      // Control 0 is a product of 0.
      assign control_d[f][d]  = filters_q[f] ? decoded[f][d] : '0;
      assign subtract_d[f][d] = filters_q[f] & subtracted[f][d];
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) valid_q <= '0;
    else valid_q <= {valid_q[3:0], valid_i};
  end
  always_ff @(posedge clk_i) begin
    filters_q  <= filters_i;
    weights_q  <= weights_i;
    control_q  <= {control_q[2:0], control_d};
    subtract_q <= {subtract_q[2:0], subtract_d};
  end

  logic [3:0][3:0][3:0][31:0] acc;  // of each row, filter, depth
  for (genvar r = 0; r < 4; r++) begin : gen_row
    logic [1+r:0][3:0][7:0] late_q;
    always_ff @(posedge clk_i) late_q <= {late_q[r:0], rows_i[r]};
    for (genvar f = 0; f < 4; f++) begin : gen_output
      for (genvar d = 0; d < 4; d++) begin : gen_lane
        pot_mac #(
          .CodeSet(CodeSet)
        ) u_mac (
          .clk_i,
          .clear_i,
          .enable_i(valid_q[1+r]),
          .activation_i($signed(late_q[1+r][d])),
          .control_i(control_q[r][f][d]),
          .subtract_i(subtract_q[r][f][d]),
          .acc_o(acc[r][f][d])
        );
      end
    end
  end

  logic [3:0][1:0][31:0] halves_q;
  logic [3:0][31:0] totals, sums_q, earlier, earlier_q[4];  // earlier ones of each row
  logic [3:0] known_q;
  logic [1:0] row_q;
  logic summing_q;
  assign earlier = known_q[row_q] ? earlier_q[row_q] : '0;
  for (genvar i = 0; i < 4; i++) begin : gen_total
    assign totals[i] = halves_q[i][0] + halves_q[i][1];
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      summing_q <= 1'b0;
      known_q   <= '0;
    end else begin
      summing_q <= row_valid_i;
      if (clear_i) known_q <= '0;
      else if (summing_q) known_q[row_q] <= 1'b1;
    end
  end
  always_ff @(posedge clk_i) begin
    row_q <= row_i;
    if (summing_q) earlier_q[row_q] <= totals;
    for (int i = 0; i < 4; i++) begin
      for (int h = 0; h < 2; h++) begin
        halves_q[i][h] <= transpose_i ? acc[row_i][2*h][i] + acc[row_i][2*h+1][i]
                                      : acc[row_i][i][2*h] + acc[row_i][i][2*h+1];
      end
      sums_q[i] <= totals[i] - earlier[i];
    end
  end
  assign sums_o = sums_q;

  logic unused;
  assign unused = valid_q[0];

endmodule
