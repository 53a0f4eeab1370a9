// Post-processing: sixteen 32-bit sums to int8, one a cycle. With a multiplier m and a shift t per filter,
//   min(max(sat32((sum m + 2^(t-1)) >> t) + zero_point, low), high)
// in one rounding with ties towards plus infinity; t = 0 neither rounds nor shifts.
//
// A block is accepted in a cycle, its sums are read in the sixteen that follow, row by row, and must stay until then.
// The result leaves 28 cycles after acceptance. Without Overlap the next block is accepted when it has: after 29.
module pot_ppu #(
  parameter bit Overlap = 1'b0  // a block every 16 cycles
) (
  input  logic                         clk_i,
  input  logic                         rst_ni,

  input  logic signed [7:0]            zero_point_i,
  input  logic signed [7:0]            low_i,
  input  logic signed [7:0]            high_i,

  input  logic                         valid_i,
  output logic                         ready_o,
  input  logic [3:0][3:0][31:0]        sums_i,        // of each row the four filters
  input  logic [3:0][30:0]             multipliers_i, // taken on acceptance, as the shifts
  input  logic [3:0][5:0]              shifts_i,

  output logic                         valid_o,       // for one cycle: whoever feeds it knows that there is room
  output logic [3:0][3:0][7:0]         result_o
);

  localparam int unsigned Stages = 11;  // registers from the choice of a row to the last but one

  logic issuing_q, accept;
  logic [3:0] index_q;
  logic [3:0][30:0] multipliers_q;
  logic [3:0][5:0] shifts_q;

  assign accept = valid_i & ready_o;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      issuing_q <= 1'b0;
      index_q   <= '0;
    end else begin
      if (accept) issuing_q <= 1'b1;
      else if (&index_q) issuing_q <= 1'b0;
      if (issuing_q) index_q <= index_q + 4'd1;
    end
  end

  always_ff @(posedge clk_i) begin
    if (accept) begin
      multipliers_q <= multipliers_i;
      shifts_q      <= shifts_i;
    end
  end

  // Which value is where: bit 0 of the pipeline has its row chosen, the last one its byte stored.
  logic [Stages:0] valid_q;
  logic [Stages:0][3:0] at_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) valid_q <= '0;
    else valid_q <= {valid_q[Stages-1:0], issuing_q};
  end
  always_ff @(posedge clk_i) at_q <= {at_q[Stages-1:0], index_q};

  logic [3:0][31:0] row_q;
  logic [3:0][30:0] row_multipliers_q;
  logic [3:0][5:0] row_shifts_q;
  logic signed [31:0] sum_q;
  logic signed [31:0] multiplier_q;
  logic signed [63:0] product_q[3];
  logic signed [63:0] rounded_q, coarse_q, shifted_q;
  logic signed [31:0] saturated_q;
  logic signed [32:0] moved_q;
  logic [7:0] clamped_q;
  logic [127:0] block_q;

  // t goes along with the product to the shifters.
  logic [5:0][5:0] shift_q;
  logic [63:0] half;
  assign half = 64'd1 << (shift_q[3] - 6'd1);

  logic signed [63:0] rounded_d, coarse_d;
  assign rounded_d = product_q[2] + ((shift_q[3] == 6'd0) ? 64'sd0 : $signed(half));
  assign coarse_d  = rounded_q >>> {shift_q[4][5:3], 3'b0};

  logic fits;
  assign fits = (&shifted_q[63:31]) | ~(|shifted_q[63:31]);

  logic signed [32:0] low, high;
  assign low  = 33'(low_i);
  assign high = 33'(high_i);

  always_ff @(posedge clk_i) begin
    row_q             <= sums_i[index_q[3:2]];
    row_multipliers_q <= multipliers_q;
    row_shifts_q      <= shifts_q;
    sum_q             <= $signed(row_q[at_q[0][1:0]]);
    multiplier_q      <= $signed({1'b0, row_multipliers_q[at_q[0][1:0]]});
    shift_q           <= {shift_q[4:0], row_shifts_q[at_q[0][1:0]]};
    // Three registers behind the multiplication, for synthesis to move into it.
    product_q[0]      <= 64'(sum_q) * 64'(multiplier_q);
    product_q[1]      <= product_q[0];
    product_q[2]      <= product_q[1];
    rounded_q         <= rounded_d;
    coarse_q          <= coarse_d;
    shifted_q         <= coarse_q >>> shift_q[5][2:0];
    saturated_q       <= fits ? shifted_q[31:0] : {shifted_q[63], {31{~shifted_q[63]}}};
    moved_q           <= 33'(saturated_q) + 33'(zero_point_i);
    clamped_q         <= (moved_q < low) ? low_i : (moved_q > high) ? high_i : moved_q[7:0];
    if (valid_q[Stages-1]) block_q <= {clamped_q, block_q[127:8]};  // sixteen in order
  end

  assign valid_o  = valid_q[Stages] & (&at_q[Stages]);
  assign result_o = block_q;
  assign ready_o  = Overlap ? (~issuing_q | (&index_q)) : (~issuing_q & ~(|valid_q));

endmodule
