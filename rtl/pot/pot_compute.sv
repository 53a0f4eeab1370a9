// The 64 PEs of a unit and the sums of their accumulators: four rows times four filters times four depths a cycle.
//
// An operand pair enters in a cycle, its decoded weights are registered, and the accumulators have it three cycles
// later. Rows are summed one by one; the sum of a row stands in sums_o three cycles after row_valid_i.
module pot_compute
  import potluck_pot_pkg::*;
#(
  parameter int unsigned CodeSet = SET_ANY,
  localparam int unsigned WeightBits = (CodeSet == SET_INT8) ? 8 : 4
) (
  input  logic                                clk_i,
  input  logic                                rst_ni,
  input  code_set_e                           code_set_i,

  input  logic                                clear_i,   // before the first operands reach the accumulators
  input  logic                                valid_i,
  input  logic [3:0][3:0][7:0]                rows_i,    // of each row four depths
  input  logic [3:0][3:0][WeightBits-1:0]     weights_i, // of each filter four depths

  input  logic                                row_valid_i,
  input  logic [1:0]                          row_i,
  input  logic [3:0][31:0]                    wsums_i,   // for a cycle after the one that follows row_valid_i
  output logic [3:0][3:0][31:0]               sums_o     // of each row the four filters
);

  logic fetched_q, decoded_q;
  logic [3:0][3:0][7:0] rows_q[2];
  logic [3:0][3:0][WeightBits-1:0] weights_q;
  logic [3:0][3:0][7:0] control_d, control_q;
  logic [3:0][3:0] subtract_d, subtract_q;

  for (genvar f = 0; f < 4; f++) begin : gen_filter
    for (genvar d = 0; d < 4; d++) begin : gen_depth
      weight_decoder #(
        .CodeSet(CodeSet)
      ) u_decoder (
        .weight_i(weights_q[f][d]),
        .code_set_i,
        .control_o(control_d[f][d]),
        .subtract_o(subtract_d[f][d])
      );
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      fetched_q <= 1'b0;
      decoded_q <= 1'b0;
    end else begin
      fetched_q <= valid_i;
      decoded_q <= fetched_q;
    end
  end

  always_ff @(posedge clk_i) begin
    rows_q[0]  <= rows_i;
    rows_q[1]  <= rows_q[0];
    weights_q  <= weights_i;
    control_q  <= control_d;
    subtract_q <= subtract_d;
  end

  logic [3:0][3:0][3:0][31:0] acc;  // of each row, of each filter, of each depth lane
  for (genvar r = 0; r < 4; r++) begin : gen_row
    for (genvar f = 0; f < 4; f++) begin : gen_output
      for (genvar d = 0; d < 4; d++) begin : gen_lane
        pot_mac #(
          .CodeSet(CodeSet)
        ) u_mac (
          .clk_i,
          .clear_i,
          .enable_i(decoded_q),
          .activation_i($signed(rows_q[1][r][d])),
          .control_i(control_q[f][d]),
          .subtract_i(subtract_q[f][d]),
          .acc_o(acc[r][f][d])
        );
      end
    end
  end

  // Four adder trees serve four rows in turn.
  logic [1:0] summing_q;
  logic [1:0][1:0] row_q;
  logic [3:0][1:0][31:0] halves_q;
  logic [3:0][31:0] lanes_q;
  logic [3:0][3:0][31:0] sums_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) summing_q <= '0;
    else summing_q <= {summing_q[0], row_valid_i};
  end

  always_ff @(posedge clk_i) begin
    row_q <= {row_q[0], row_i};
    for (int f = 0; f < 4; f++) begin
      halves_q[f][0] <= acc[row_i][f][0] + acc[row_i][f][1];
      halves_q[f][1] <= acc[row_i][f][2] + acc[row_i][f][3];
      lanes_q[f]     <= halves_q[f][0] + halves_q[f][1];
      for (int r = 0; r < 4; r++) begin
        if (summing_q[1] && row_q[1] == 2'(r)) sums_q[r][f] <= lanes_q[f] + wsums_i[f];
      end
    end
  end

  assign sums_o = sums_q;

endmodule
