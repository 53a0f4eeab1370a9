// Order of a computation's lines. All units work on the same line of activations, each with a weight block of its own:
// a round. For every row block all rounds; depthwise, where a quarter of the lanes is a round's, passes of four rounds.
// A round takes a cycle a line, but not less than a requantizer needs.
module pot_sequencer
  import potluck_pot_command_pkg::*;
  import pot_engine_pkg::*;
#(
  parameter int unsigned Units       = 4,
  parameter int unsigned WindowBytes = 1024,
  parameter int unsigned WeightLines = 128,  // of a slot and unit
  parameter int unsigned Groups      = 8,
  parameter int unsigned OutputBytes = 1024,
  parameter int unsigned Tiles       = 16,
  parameter int unsigned Least       = 4,    // cycles of a round with outputs of a byte; a row of four a cycle
  localparam int unsigned UnitShift    = $clog2(Units),
  localparam int unsigned MemberWidth  = (Units > 1) ? UnitShift : 1,
  localparam int unsigned WordWidth    = $clog2(WindowBytes / (16 * Units)),
  localparam int unsigned LineWidth    = $clog2(WeightLines),
  localparam int unsigned GroupWidth   = $clog2(Groups),
  localparam int unsigned OutputWidth  = $clog2(OutputBytes),
  localparam int unsigned TileWidth    = $clog2(Tiles)
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   start_i,
  input  work_t                  work_i,  // from start_i to the end
  input  logic                   full_i,      // another row block's windows are there
  output logic                   releases_o,  // the next cycle is the last one of a row block
  output logic                   busy_o,

  // A line.
  output logic                   valid_o,
  output logic                   last_o,    // of a round
  output logic [LineWidth-1:0]   line_o,    // of the weight slot
  output logic                   half_o,    // of the window buffer, as what follows
  output logic [WordWidth-1:0]   word_o,
  output logic [1:0]             quarter_o,
  output logic [MemberWidth-1:0] member_o,  // four bytes of the quarter that all units take; not depthwise
  output logic [3:0]             depths_o,  // those that count
  output logic [3:0]             filters_o,

  // The round, with last_o.
  output logic [GroupWidth-1:0]  group_o,    // of its parameters
  output logic [TileWidth-1:0]   tile_o,     // of its accumulators
  output logic [2:0]             rows_o,     // output pixels
  output logic [OutputWidth-1:0] address_o,  // of its first output
  output size_t                  filters_left_o
);

  work_t w;
  logic depthwise;
  assign w         = work_i;
  assign depthwise = w.fields.depthwise;

  logic running_q, inside_q, half_q;
  logic [1:0] filled_q;
  size_t cycle_q, place_q, round_q, pixels_left_q, line_q, tile_q, column_q, block_q, filters_left_q;
  size_t pass_round_q, pass_line_q, pass_column_q, pass_filters_q;
  logic [2:0] plane_q;

  // How long a round is, and what a place of the window is: a line, or a tap; with so many lines of weights.
  logic [1:0] output_shift;
  size_t least, pixel_bytes, round_bytes;
  logic [2:0] planes;
  logic working, place_ends, round_ends, block_ends, last_round, last_block, ends;
  assign output_shift = (w.fields.law == LAW_FLOAT) ? 2'd2 : 2'd0;
  assign least        = 18'(Least) << output_shift;
  assign pixel_bytes  = 18'(w.fields.filters) << output_shift;
  assign round_bytes  = 18'(4 * Units) << output_shift;
  assign planes       = !depthwise ? w.fields.planes : (w.fields.planes > 3'd4) ? 3'd2 : 3'd1;
  assign working      = cycle_q < w.lines;
  assign place_ends   = plane_q == planes - 3'd1;
  assign round_ends   = cycle_q + 18'd1 >= w.lines && cycle_q + 18'd1 >= least;
  assign last_round   = round_q == w.rounds - 18'd1;
  assign block_ends   = round_ends & (last_round | (depthwise & (&round_q[1:0])));
  assign last_block   = pixels_left_q <= 18'd4;
  assign ends         = block_ends & last_block & last_round;

  logic step;
  assign step = running_q & (inside_q | (filled_q != '0));
  assign releases_o = step & (last_round | (depthwise & (&round_q[1:0])))
                    & (cycle_q + 18'd2 >= w.lines) & (cycle_q + 18'd2 >= least) & ~round_ends;
  assign busy_o = running_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      running_q <= 1'b0;
      inside_q  <= 1'b0;
      half_q    <= 1'b0;
      filled_q  <= '0;
    end else begin
      if (start_i) begin
        running_q <= 1'b1;
        inside_q  <= 1'b0;
        half_q    <= 1'b0;
      end else if (step) begin
        inside_q <= ~block_ends;
        if (block_ends) half_q <= ~half_q;
        if (ends) running_q <= 1'b0;
      end
      filled_q <= filled_q + 2'(full_i) - 2'(step & block_ends);
    end
  end

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      cycle_q        <= '0;
      place_q        <= '0;
      plane_q        <= '0;
      round_q        <= '0;
      line_q         <= '0;
      tile_q         <= '0;
      column_q       <= '0;
      block_q        <= '0;
      filters_left_q <= 18'(w.fields.filters);
      pixels_left_q  <= w.pixels;
      pass_round_q   <= '0;
      pass_line_q    <= '0;
      pass_column_q  <= '0;
      pass_filters_q <= 18'(w.fields.filters);
    end else if (step) begin
      cycle_q <= round_ends ? '0 : cycle_q + 18'd1;
      if (working) begin
        line_q  <= line_q + 18'd1;
        plane_q <= place_ends ? '0 : plane_q + 3'd1;
        if (place_ends) place_q <= place_q + 18'd1;
      end
      if (round_ends) begin
        place_q        <= '0;
        plane_q        <= '0;
        round_q        <= round_q + 18'd1;
        tile_q         <= tile_q + 18'd1;
        column_q       <= column_q + round_bytes;
        filters_left_q <= filters_left_q - 18'(4 * Units);
      end
      if (block_ends) begin
        if (!last_block) begin
          pixels_left_q  <= pixels_left_q - 18'd4;
          block_q        <= block_q + (pixel_bytes << 2);
          round_q        <= pass_round_q;
          line_q         <= pass_line_q;
          column_q       <= pass_column_q;
          filters_left_q <= pass_filters_q;
        end else begin
          pixels_left_q  <= w.pixels;
          block_q        <= '0;
          pass_round_q   <= round_q + 18'd1;
          pass_line_q    <= working ? line_q + 18'd1 : line_q;
          pass_column_q  <= column_q + round_bytes;
          pass_filters_q <= filters_left_q - 18'(4 * Units);
        end
      end
    end
  end

  logic [3:0] tail;
  always_comb begin
    tail = 4'b1111;
    if (!depthwise && place_q == (w.depth - 18'd1) >> 2 && w.depth[1:0] != '0) begin
      tail = 4'b1111 >> (3'd4 - 3'(w.depth[1:0]));
    end
    filters_o = 4'b1111;
    for (int f = 0; f < 4; f++) begin
      if (depthwise) filters_o[f] = {plane_q, 2'(f)} < 5'(w.fields.planes);
    end
  end

  assign valid_o   = step & working;
  assign last_o    = step & (cycle_q == w.lines - 18'd1);
  assign line_o    = line_q[LineWidth-1:0];
  assign half_o    = half_q;
  assign depths_o  = tail;
  if (Units > 1) begin : gen_member
    assign member_o = place_q[MemberWidth-1:0];
  end else begin : gen_one
    assign member_o = '0;
  end
  assign quarter_o = depthwise ? round_q[1:0] : place_q[UnitShift+1:UnitShift];
  assign word_o    = depthwise ? place_q[WordWidth-1:0] : place_q[UnitShift+2+:WordWidth];

  assign group_o        = round_q[GroupWidth-1:0];
  assign tile_o         = tile_q[TileWidth-1:0];
  assign rows_o         = last_block ? pixels_left_q[2:0] : 3'd4;
  assign address_o      = block_q[OutputWidth-1:0] + column_q[OutputWidth-1:0];
  assign filters_left_o = filters_left_q;

  logic unused;
  assign unused = ^{line_q, tile_q, column_q, block_q, w};

endmodule
