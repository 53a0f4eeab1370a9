// Stores: rows of an output slot to memory, a beat of 16 bytes a unit each cycle. The next store begins when the beats
// of the one before it have been given to memory; a store has ended when memory has answered for all of them.
`include "assertions.svh"

module pot_store
  import pot_engine_pkg::*;
#(
  parameter int unsigned Units       = 4,
  parameter int unsigned OutputBytes = 1024,  // of a slot
  parameter int unsigned Waiting     = 8,     // stores whose answers have not all come
  localparam int unsigned Beat        = 16 * Units,
  localparam int unsigned BeatWidth   = $clog2(Beat),
  localparam int unsigned OutputWidth = $clog2(OutputBytes)
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,

  input  logic                 valid_i,
  output logic                 ready_o,
  input  transfer_t            transfer_i,
  output logic                 done_o,  // for a cycle: a store has ended
  output logic                 busy_o,

  output logic                 read_o,
  output logic [OutputWidth:0] read_address_o,  // slot and address of the first byte
  input  logic [Beat-1:0][7:0] read_data_i,     // a cycle later, by lane

  output logic                 write_valid_o,
  output logic [63:0]          write_address_o,  // of a beat
  output logic [Beat-1:0]      write_strobe_o,
  output logic [Beat-1:0][7:0] write_data_o,
  input  logic                 write_ready_i,
  input  logic                 written_i         // memory answers for a beat
);

  // A beat is read in one cycle and given to memory in those that follow.
  logic reading, first, last, step, moves, given_q, room;
  transfer_t t;
  logic [63:0] address;
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
    .step_i(step),
    .active_o(reading),
    .transfer_o(t),
    .address_o(address),
    .lane_o(lane),
    .count_o(count),
    .offset_o(offset),
    .first_o(first),
    .last_o(last)
  );
  assign moves   = ~given_q | write_ready_i;
  assign step    = reading & moves;
  assign ready_o = (~reading | (step & last)) & room;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) given_q <= 1'b0;
    else if (moves) given_q <= step;
  end

  assign read_o         = step;
  assign read_address_o = {t.slot, offset[OutputWidth-1:0]};

  logic [BeatWidth-1:0] by_q, lane_q;
  logic [BeatWidth:0] count_q;
  logic [63:0] address_q;
  always_ff @(posedge clk_i) begin
    if (step) begin
      by_q      <= lane - offset[BeatWidth-1:0];
      lane_q    <= lane;
      count_q   <= count;
      address_q <= address;
    end
  end

  logic [Beat-1:0] meant;
  for (genvar i = 0; i < Beat; i++) begin : gen_meant
    assign meant[i] = (BeatWidth + 1)'(i) < count_q;
  end
  assign write_strobe_o = meant << lane_q;
  pot_rotator #(
    .Items(Beat),
    .Width(8)
  ) u_data (
    .items_i(read_data_i),
    .by_i(by_q),
    .items_o(write_data_o)
  );
  assign write_valid_o   = given_q;
  assign write_address_o = address_q;

  // Beats of each store that memory still owes an answer for. The first entry is the oldest store.
  localparam int unsigned UsageWidth = $clog2(Waiting + 1);
  logic counted, close, held;
  logic [31:0] beats_q, total, answered_q;
  logic [UsageWidth-1:0] usage;
  assign close = step & last;
  fifo #(
    .Width(32),
    .Depth(Waiting)
  ) u_totals (
    .clk_i,
    .rst_ni,
    .valid_i(close),
    .ready_o(held),
    .data_i(beats_q + 32'd1),
    .valid_o(counted),
    .ready_i(done_o),
    .data_o(total),
    .usage_o(usage)
  );
  // A store that is being read has its place already.
  assign room   = usage + UsageWidth'(reading) < UsageWidth'(Waiting);
  assign done_o = counted & (answered_q == total);
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      beats_q    <= '0;
      answered_q <= '0;
    end else begin
      if (close) beats_q <= '0;
      else if (step) beats_q <= beats_q + 32'd1;
      answered_q <= (done_o ? 32'd0 : answered_q) + 32'(written_i);
    end
  end
  assign busy_o = reading | given_q | counted;

  `POTLUCK_ASSERT(TotalsHaveRoom, close |-> held)

  logic unused;
  assign unused = ^{held, offset, first, t};

endmodule
