// What follows the last line of a round: the sums of four rows, one a cycle, with those kept of an earlier part of the
// depth; requantizers for a row of all units; and the outputs' way to their slot, four bytes of a unit a cycle. Depths
// that go on are kept instead.
//
// last_i comes with a round's last line; row_o asks the units for its sums four cycles later.
`include "assertions.svh"

module pot_post
  import potluck_pot_command_pkg::*;
  import pot_engine_pkg::*;
#(
  parameter int unsigned Units       = 4,
  parameter int unsigned Groups      = 8,     // of a slot
  parameter int unsigned OutputBytes = 1024,  // of a slot
  parameter int unsigned Tiles       = 16,
  localparam int unsigned Filters     = 4 * Units,
  localparam int unsigned FilterShift = $clog2(Filters),
  localparam int unsigned Lanes       = 16 * Units,
  localparam int unsigned LaneWidth   = $clog2(Lanes),
  localparam int unsigned Word        = 8 * Units,
  localparam int unsigned GroupWidth  = $clog2(Groups),
  localparam int unsigned OutputWidth = $clog2(OutputBytes),
  localparam int unsigned TileWidth   = $clog2(Tiles)
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,
  input  work_t                     work_i,  // until the last output is written

  // Parameters are loaded.
  input  logic                      parameter_slot_i,
  input  logic [5:0]                parameter_write_i,
  input  logic [GroupWidth-1:0]     parameter_group_i,
  input  logic [5:0][Word-1:0][7:0] parameter_data_i,

  // A round.
  input  logic                      last_i,
  input  logic [GroupWidth-1:0]     group_i,
  input  logic [TileWidth-1:0]      tile_i,
  input  logic [2:0]                rows_i,
  input  logic [OutputWidth-1:0]    address_i,
  input  size_t                     filters_left_i,
  output logic                      row_valid_o,
  output logic [1:0]                row_o,
  input  logic [Filters-1:0][31:0]  sums_i,  // of the row that row_o was two cycles before

  output logic [Lanes-1:0]          write_o,  // by lane
  output logic [OutputWidth:0]      write_address_o,  // slot and address of the first byte
  output logic [Lanes-1:0][7:0]     write_data_o,
  output logic                      busy_o
);

  typedef struct packed {
    logic [GroupWidth-1:0]  group;
    logic [TileWidth-1:0]   tile;
    logic [2:0]             rows;
    logic [OutputWidth-1:0] address;
    size_t                  filters_left;
  } round_t;

  compute_t c;
  logic [1:0] output_shift;
  assign c            = work_i.fields;
  assign output_shift = (c.law == LAW_FLOAT) ? 2'd2 : 2'd0;

  // Rows of a round, by the stage they are in: units sum; parameters and kept sums are read; sums are added;
  // requantized.
  logic [3:0] last_q;
  round_t given_q, round_q;
  logic [3:1] active_q;
  logic active;
  logic [1:0] next_row_q;
  logic [3:0][1:0] row;
  logic [3:1][1:0] row_q;
  assign active = last_q[3] | (next_row_q != '0);
  assign row    = {row_q, next_row_q};
  assign row_o  = next_row_q;
  assign row_valid_o = active;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      last_q     <= '0;
      active_q   <= '0;
      next_row_q <= '0;
    end else begin
      last_q     <= {last_q[2:0], last_i};
      active_q   <= {active_q[2:1], active};
      next_row_q <= active ? next_row_q + 2'd1 : '0;
    end
  end
  logic [1:0][TileWidth-1:0] tile_q;
  always_ff @(posedge clk_i) begin
    row_q  <= row[2:0];
    tile_q <= {tile_q[0], round_q.tile};
    if (last_i) begin
      given_q <= '{group: group_i, tile: tile_i, rows: rows_i, address: address_i, filters_left: filters_left_i};
    end
    if (last_q[3]) round_q <= given_q;
  end

  // Parameters: sums, multipliers, shifts, two words each. Sums are wanted a cycle before the others.
  logic [5:0][Word-1:0][7:0] parameters;
  logic begins_q;  // the row that is first in stage 2
  always_ff @(posedge clk_i) begin
    begins_q <= active_q[1] & (row[1] == '0);
  end
  for (genvar j = 0; j < 6; j++) begin : gen_parameter
    pot_memory #(
      .Width(8 * Word),
      .Depth(2 * Groups)
    ) u_memory (
      .clk_i,
      .write_i(parameter_write_i[j]),
      .write_address_i({parameter_slot_i, parameter_group_i}),
      .write_data_i(parameter_data_i[j]),
      .read_i((j < 2) ? active_q[1] & (row[1] == '0) : begins_q),
      .read_address_i({c.weights, round_q.group}),
      .read_data_o(parameters[j])
    );
  end
  logic [Filters-1:0][31:0] wsums, multipliers, shifts;
  assign {shifts, multipliers, wsums} = parameters;

  logic [Filters-1:0][31:0] kept, totals_q;
  logic keep;
  assign keep = active_q[3] & ~c.final_part;
  pot_memory #(
    .Width(32 * Filters),
    .Depth(4 * Tiles)
  ) u_kept (
    .clk_i,
    .write_i(keep),
    .write_address_i({tile_q[1], row[3]}),
    .write_data_i(totals_q),
    .read_i(active_q[1] & ~c.first_part),
    .read_address_i({round_q.tile, row[1]}),
    .read_data_o(kept)
  );

  always_ff @(posedge clk_i) begin
    for (int f = 0; f < Filters; f++) begin
      totals_q[f] <= sums_i[f] + (c.final_part ? wsums[f] : '0) + (c.first_part ? '0 : kept[f]);
    end
  end

  logic [Filters-1:0] results_valid;
  logic [Filters-1:0][31:0] results;
  for (genvar f = 0; f < Filters; f++) begin : gen_filter
    pot_requantizer u_requantizer (
      .clk_i,
      .rst_ni,
      .law_i(c.law),
      .zero_point_i(c.zero_point),
      .low_i(c.low),
      .high_i(c.high),
      .float_low_i(c.float_low),
      .float_high_i(c.float_high),
      .valid_i(active_q[3] & c.final_part),
      .sum_i($signed(totals_q[f])),
      .multiplier_i(multipliers[f]),
      .shift_i(shifts[f][5:0]),
      .valid_o(results_valid[f]),
      .result_o(results[f])
    );
  end

  // Rows of outputs wait for their way out; rounds that are in the requantizers wait with where they go.
  logic offered, taken, row_ready, round_ready, round_valid, round_ends;
  logic [Filters-1:0][31:0] out;
  round_t to;
  logic [2:0] usage;
  logic [3:0] rounds_usage;
  fifo #(
    .Width(32 * Filters),
    .Depth(4)
  ) u_rows (
    .clk_i,
    .rst_ni,
    .valid_i(results_valid[0]),
    .ready_o(row_ready),
    .data_i(results),
    .valid_o(offered),
    .ready_i(taken),
    .data_o(out),
    .usage_o(usage)
  );
  fifo #(
    .Width($bits(round_t)),
    .Depth(8)
  ) u_rounds (
    .clk_i,
    .rst_ni,
    .valid_i(active_q[1] & (row[1] == '0) & c.final_part),
    .ready_o(round_ready),
    .data_i(round_q),
    .valid_o(round_valid),
    .ready_i(round_ends),
    .data_o(to),
    .usage_o(rounds_usage)
  );

  // A row leaves in one piece if its outputs are bytes, else in four.
  logic [1:0] out_row_q, piece_q;
  size_t above_q, at, left, wanted;
  logic [Filters-1:0][7:0] bytes, turned;
  logic [3:0][Filters-1:0][7:0] words;
  logic [LaneWidth:0] count;
  logic [Lanes-1:0] meant, lanes;
  assign taken      = offered & ((output_shift == '0) | (&piece_q));
  assign round_ends = taken & (&out_row_q);
  assign at         = ((out_row_q == '0) ? 18'(to.address) : above_q) + wanted;
  assign left       = to.filters_left << output_shift;
  assign wanted     = 18'(piece_q) << FilterShift;
  assign words      = out;
  for (genvar f = 0; f < Filters; f++) begin : gen_byte
    assign bytes[f] = (output_shift == '0) ? {out[f][7] ^ c.unsigned_outputs, out[f][6:0]} : words[piece_q][f];
  end
  always_comb begin
    if (left <= wanted || 3'(out_row_q) >= to.rows) count = '0;
    else if (left - wanted >= 18'(Filters)) count = (LaneWidth + 1)'(Filters);
    else count = (LaneWidth + 1)'(left - wanted);
  end
  for (genvar l = 0; l < Lanes; l++) begin : gen_meant
    assign meant[l] = (LaneWidth + 1)'(l) < count;
  end
  pot_rotator #(
    .Items(Filters),
    .Width(8)
  ) u_bytes (
    .items_i(bytes),
    .by_i(at[FilterShift-1:0]),
    .items_o(turned)
  );
  pot_rotator #(
    .Items(Lanes),
    .Width(1)
  ) u_lanes (
    .items_i(meant),
    .by_i(at[LaneWidth-1:0]),
    .items_o(lanes)
  );

  logic [Lanes-1:0] write_q;
  logic [OutputWidth-1:0] address_q;
  logic [Filters-1:0][7:0] data_q;
  logic slot_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      out_row_q <= '0;
      piece_q   <= '0;
      write_q   <= '0;
    end else begin
      if (taken) out_row_q <= out_row_q + 2'd1;
      if (offered && output_shift != '0) piece_q <= piece_q + 2'd1;
      write_q <= offered ? lanes : '0;
    end
  end
  always_ff @(posedge clk_i) begin
    if (taken) above_q <= ((out_row_q == '0) ? 18'(to.address) : above_q) + (18'(c.filters) << output_shift);
    address_q <= at[OutputWidth-1:0];
    data_q    <= turned;
    slot_q    <= c.outputs;
  end
  assign write_o         = write_q;
  assign write_address_o = {slot_q, address_q};
  assign write_data_o    = {4{data_q}};

  // Rounds that have neither been written nor kept.
  logic [4:0] open_q;
  logic wrote_q, kept_all;
  assign kept_all = keep & (row[3] == 2'd3);
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      open_q  <= '0;
      wrote_q <= 1'b0;
    end else begin
      wrote_q <= round_ends;
      open_q  <= open_q + 5'(last_i) - 5'(kept_all | wrote_q);
    end
  end
  assign busy_o = (open_q != '0) | last_i;

  `POTLUCK_ASSERT(RowsHaveRoom, results_valid[0] |-> row_ready)
  `POTLUCK_ASSERT(RoundsHaveRoom, (active_q[1] && row[1] == '0 && c.final_part) |-> round_ready)
  `POTLUCK_ASSERT(RowsHaveTheirRound, offered |-> round_valid)

  logic unused;
  assign unused = ^{results_valid, row_ready, round_ready, round_valid, usage, rounds_usage, at, shifts, row[2], to,
                    work_i, c};

endmodule
