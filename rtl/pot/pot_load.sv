// Loads: asks memory for beats of 16 bytes a unit, one a cycle, and puts what comes, in the same order, into a slot of
// the input buffer or of the weight buffer. The requests of a load begin when those of the one before it have been
// made.
//
// Inputs move to any address of their slot. Weights come in words of 8 bytes a unit, two a beat: of each round, a
// weight block of every unit, first its lines, then six words of parameters.
`include "assertions.svh"

module pot_load
  import pot_engine_pkg::*;
#(
  parameter int unsigned Units       = 4,
  parameter int unsigned InputBytes  = 4096,  // of a slot
  parameter int unsigned WeightWords = 128,   // of a slot
  parameter int unsigned Groups      = 8,     // of a slot
  parameter int unsigned Outstanding = 128,   // beats asked for that have not come
  localparam int unsigned Beat         = 16 * Units,
  localparam int unsigned BeatWidth    = $clog2(Beat),
  localparam int unsigned Word         = 8 * Units,
  localparam int unsigned InputWidth   = $clog2(InputBytes),
  localparam int unsigned WeightWidth  = $clog2(WeightWords),
  localparam int unsigned GroupWidth   = $clog2(Groups)
) (
  input  logic                     clk_i,
  input  logic                     rst_ni,

  input  logic                     valid_i,
  output logic                     ready_o,
  input  transfer_t                transfer_i,
  output logic                     done_o,  // for a cycle: a load has ended
  output logic                     busy_o,

  output logic                     request_valid_o,
  output logic [63:0]              request_address_o,  // of a beat
  input  logic                     request_ready_i,
  input  logic                     beat_valid_i,
  input  logic [Beat-1:0][7:0]     beat_i,

  output logic [Beat-1:0]          input_write_o,    // by lane
  output logic [InputWidth:0]      input_address_o,  // slot and address of the first byte
  output logic [Beat-1:0][7:0]     input_data_o,

  output logic                     weight_slot_o,
  output logic [1:0]               weight_write_o,   // even and odd words
  output logic [1:0][WeightWidth-2:0] weight_address_o,
  output logic [1:0][Word-1:0][7:0]   weight_data_o,
  output logic [5:0]               parameter_write_o,
  output logic [GroupWidth-1:0]    parameter_group_o,
  output logic [5:0][Word-1:0][7:0] parameter_data_o
);

  // Requests.
  logic asking, first, last, sent;
  transfer_t t;
  logic [BeatWidth-1:0] lane;
  logic [BeatWidth:0] count;
  size_t offset;
  pot_rows #(
    .Units(Units)
  ) u_rows (
    .clk_i,
    .rst_ni,
    .begin_i(valid_i & ready_o),
    .transfer_i,
    .step_i(sent),
    .active_o(asking),
    .transfer_o(t),
    .address_o(request_address_o),
    .lane_o(lane),
    .count_o(count),
    .offset_o(offset),
    .first_o(first),
    .last_o(last)
  );
  assign ready_o = ~asking | (sent & last);

  // What a beat will be when it comes.
  typedef struct packed {
    logic weights;
    logic slot;
    logic last;
    logic first;
    logic [BeatWidth-1:0] lane;
    logic [BeatWidth:0] count;
    logic [InputWidth-1:0] offset;
    size_t lines;
  } beat_t;
  beat_t asked, b;
  logic room, known;

  assign asked = '{
    weights: t.weights, slot: t.slot, last: last, first: first, lane: lane, count: count,
    offset: offset[InputWidth-1:0], lines: t.lines
  };
  assign request_valid_o = asking & room;
  assign sent            = request_valid_o & request_ready_i;

  localparam int unsigned UsageWidth = $clog2(Outstanding + 1);
  logic [UsageWidth-1:0] usage;
  fifo #(
    .Width($bits(beat_t)),
    .Depth(Outstanding)
  ) u_asked (
    .clk_i,
    .rst_ni,
    .valid_i(sent),
    .ready_o(room),
    .data_i(asked),
    .valid_o(known),
    .ready_i(beat_valid_i),
    .data_o(b),
    .usage_o(usage)
  );

  // A beat has come: inputs are turned to their lanes.
  logic arrived_q;
  beat_t b_q;
  logic [Beat-1:0][7:0] beat_q, turned;
  logic [Beat-1:0] taken, lanes;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) arrived_q <= 1'b0;
    else arrived_q <= beat_valid_i;
  end
  always_ff @(posedge clk_i) begin
    beat_q <= beat_i;
    b_q    <= b;
  end

  for (genvar i = 0; i < Beat; i++) begin : gen_taken
    assign taken[i] = (BeatWidth + 1)'(i) < b_q.count;
  end
  pot_rotator #(
    .Items(Beat),
    .Width(8)
  ) u_data (
    .items_i(beat_q),
    .by_i(b_q.offset[BeatWidth-1:0] - b_q.lane),
    .items_o(turned)
  );
  pot_rotator #(
    .Items(Beat),
    .Width(1)
  ) u_lanes (
    .items_i(taken),
    .by_i(b_q.offset[BeatWidth-1:0]),
    .items_o(lanes)
  );
  assign input_write_o   = (arrived_q && !b_q.weights) ? lanes : '0;
  assign input_address_o = {b_q.slot, b_q.offset};
  assign input_data_o    = turned;

  // Weights: place of the beat's first word in its round; the second word may begin another round.
  size_t place_q, place, other;
  logic [WeightWidth:0] word_q, word;  // of the slot: lines only
  logic [GroupWidth-1:0] group_q, group;
  logic [1:0] is_line;
  logic round_ends;
  logic [2:0] index, other_index;
  assign place       = b_q.first ? '0 : place_q;
  assign word        = b_q.first ? '0 : word_q;
  assign group       = b_q.first ? '0 : group_q;
  assign round_ends  = place == b_q.lines + 18'd5;
  assign other       = round_ends ? '0 : place + 18'd1;
  assign is_line[0]  = place < b_q.lines;
  assign is_line[1]  = (other < b_q.lines) & (b_q.count == (BeatWidth + 1)'(Beat));
  assign index       = 3'(place - b_q.lines);
  assign other_index = 3'(other - b_q.lines);

  logic weights_arrive;
  assign weights_arrive = arrived_q & b_q.weights;
  always_ff @(posedge clk_i) begin
    if (weights_arrive) begin
      place_q <= (other == b_q.lines + 18'd5) ? '0 : other + 18'd1;
      word_q  <= word + (WeightWidth + 1)'(is_line[0]) + (WeightWidth + 1)'(is_line[1]);
      group_q <= group + GroupWidth'(round_ends | (other == b_q.lines + 18'd5));
    end
  end

  assign weight_slot_o       = b_q.slot;
  assign weight_write_o      = weights_arrive ? is_line : '0;
  // Six words of parameters leave even words even: the next line's word, or the next two, have one address.
  assign weight_address_o    = {2{word[WeightWidth-1:1]}};
  assign weight_data_o       = beat_q;
  assign parameter_group_o   = group;
  for (genvar j = 0; j < 6; j++) begin : gen_parameter
    logic [1:0] meant;
    assign meant = {(other >= b_q.lines) & (other_index == 3'(j)), ~is_line[0] & (index == 3'(j))};
    assign parameter_write_o[j] = weights_arrive & (|meant);
    assign parameter_data_o[j]  = meant[1] ? weight_data_o[1] : weight_data_o[0];
  end

  assign done_o = arrived_q & b_q.last;
  assign busy_o = asking | known | arrived_q;

  `POTLUCK_ASSERT(BeatsAreAwaited, beat_valid_i |-> known)

  logic unused;
  assign unused = ^{usage, offset, t};

endmodule
