// The cluster's PoT accelerator: a queue of commands that lies in L1; loads, computations and stores, each in the order
// of the queue; two slots each of inputs, weights and outputs. Commands, values, statuses are those of
// potluck.isa.pot.command and the simulator's accelerator, cycles of a computation those of potluck.isa.pot.cycles.
module pot_engine
  import potluck_pot_pkg::*;
  import pot_engine_pkg::*;
#(
  parameter int unsigned CodeSet     = SET_ANY,  // all sets of shift-PEs, or SET_INT8: multipliers
  parameter int unsigned Units       = 4,     // a power of two; memory's beats have 16 bytes for each
  parameter int unsigned InputBytes  = 4096,  // of a slot, as all that follow powers of two
  parameter int unsigned WindowBytes = 1024,  // of the window of one output pixel
  parameter int unsigned WeightLines = 128,   // of a slot and unit: four depths of four filters
  parameter int unsigned Groups      = 8,     // of a slot and unit: weight blocks
  parameter int unsigned OutputBytes = 1024,  // of a slot
  parameter int unsigned Tiles       = 16,    // of a unit: accumulators that are kept between parts of a depth
  parameter int unsigned QueueDepth  = 32,    // commands that wait for each engine
  parameter int unsigned Outstanding = 128,   // beats that loads have asked for
  localparam int unsigned Beat = 16 * Units
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic [1:0][63:0]     memory_begin_i,  // L1 and DRAM: first address, first one behind
  input  logic [1:0][63:0]     memory_end_i,
  input  logic [63:0]          writable_i,      // DRAM before it is not written

  input  logic                 register_valid_i,
  input  logic                 register_write_i,
  input  logic [7:0]           register_address_i,
  input  logic [63:0]          register_data_i,
  output logic                 register_ready_o,
  output logic [63:0]          register_data_o,

  output logic                 fetch_valid_o,
  output logic [63:0]          fetch_address_o,
  input  logic                 fetch_ready_i,
  input  logic                 fetched_valid_i,
  input  logic [63:0]          fetched_data_i,

  output logic                 request_valid_o,
  output logic [63:0]          request_address_o,
  input  logic                 request_ready_i,
  input  logic                 beat_valid_i,
  input  logic [Beat-1:0][7:0] beat_i,

  output logic                 write_valid_o,
  output logic [63:0]          write_address_o,
  output logic [Beat-1:0]      write_strobe_o,
  output logic [Beat-1:0][7:0] write_data_o,
  input  logic                 write_ready_i,
  input  logic                 written_i,

  output logic [2:0]           begins_o,  // for counters: a load, a computation, a store begins, or ends
  output logic [2:0]           ends_o
);

  localparam int unsigned Word        = 8 * Units;
  localparam int unsigned InputWidth  = $clog2(InputBytes);
  localparam int unsigned OutputWidth = $clog2(OutputBytes);
  localparam int unsigned GroupWidth  = $clog2(Groups);
  localparam int unsigned WeightWords = (CodeSet == SET_INT8) ? 2 * WeightLines : WeightLines;
  localparam int unsigned BankWidth   = $clog2(WeightWords) - 1;

  logic clear, rewind, check, ends, checked, commit, given, busy;
  potluck_pot_command_pkg::command_t words;
  status_e status;
  logic [2:0] meant, room, waiting, begins, free, done, works;  // loads, computations, stores
  counts_t waits, ended_q;
  transfer_t transfer;
  work_t work;

  pot_queue u_queue (
    .clk_i,
    .rst_ni,
    .l1_begin_i(memory_begin_i[0]),
    .l1_end_i(memory_end_i[0]),
    .register_valid_i,
    .register_write_i,
    .register_address_i,
    .register_data_i,
    .register_ready_o,
    .register_data_o,
    .fetch_valid_o,
    .fetch_address_o,
    .fetch_ready_i,
    .fetched_valid_i,
    .fetched_data_i,
    .clear_o(clear),
    .rewind_o(rewind),
    .check_o(check),
    .words_o(words),
    .ends_o(ends),
    .checked_i(checked),
    .status_i(status),
    .ready_i(given),
    .commit_o(commit),
    .busy_i(busy)
  );
  assign given = (meant & ~room) == '0;
  assign busy  = (|waiting) | (|works);

  pot_checker #(
    .CodeSet(CodeSet),
    .Units(Units),
    .InputBytes(InputBytes),
    .WindowBytes(WindowBytes),
    .WeightLines(WeightLines),
    .Groups(Groups),
    .OutputBytes(OutputBytes),
    .Tiles(Tiles)
  ) u_checker (
    .clk_i,
    .rst_ni,
    .clear_i(clear),
    .rewind_i(rewind),
    .memory_begin_i,
    .memory_end_i,
    .writable_i,
    .start_i(check),
    .words_i(words),
    .ends_i(ends),
    .done_o(checked),
    .status_o(status),
    .loads_o(meant[0]),
    .computes_o(meant[1]),
    .stores_o(meant[2]),
    .waits_o(waits),
    .transfer_o(transfer),
    .work_o(work),
    .commit_i(commit)
  );

  // Commands wait for their engine and, once they are the next ones, for those of other engines.
  localparam int unsigned UsageWidth = $clog2(QueueDepth + 1);
  logic [2:0][UsageWidth-1:0] usage;
  counts_t [2:0] wanted;
  transfer_t load, store;
  work_t next;
  fifo #(
    .Width($bits(counts_t) + $bits(transfer_t)),
    .Depth(QueueDepth)
  ) u_loads (
    .clk_i,
    .rst_ni,
    .valid_i(commit & meant[0]),
    .ready_o(room[0]),
    .data_i({waits, transfer}),
    .valid_o(waiting[0]),
    .ready_i(begins[0]),
    .data_o({wanted[0], load}),
    .usage_o(usage[0])
  );
  fifo #(
    .Width($bits(counts_t) + $bits(work_t)),
    .Depth(QueueDepth)
  ) u_computes (
    .clk_i,
    .rst_ni,
    .valid_i(commit & meant[1]),
    .ready_o(room[1]),
    .data_i({waits, work}),
    .valid_o(waiting[1]),
    .ready_i(begins[1]),
    .data_o({wanted[1], next}),
    .usage_o(usage[1])
  );
  fifo #(
    .Width($bits(counts_t) + $bits(transfer_t)),
    .Depth(QueueDepth)
  ) u_stores (
    .clk_i,
    .rst_ni,
    .valid_i(commit & meant[2]),
    .ready_o(room[2]),
    .data_i({waits, transfer}),
    .valid_o(waiting[2]),
    .ready_i(begins[2]),
    .data_o({wanted[2], store}),
    .usage_o(usage[2])
  );
  for (genvar e = 0; e < 3; e++) begin : gen_engine
    assign begins[e] = waiting[e] & free[e] & ended_q.loads >= wanted[e].loads & ended_q.computes >= wanted[e].computes
                     & ended_q.stores >= wanted[e].stores;
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) ended_q <= '0;
    else if (rewind) ended_q <= '0;
    else begin
      ended_q.loads    <= ended_q.loads + 16'(done[0]);
      ended_q.computes <= ended_q.computes + 16'(done[1]);
      ended_q.stores   <= ended_q.stores + 16'(done[2]);
    end
  end
  assign begins_o = begins;
  assign ends_o   = done;

  logic [Beat-1:0] input_write, output_write;
  logic [InputWidth:0] input_write_address, input_read_address;
  logic [OutputWidth:0] output_write_address, output_read_address;
  logic [Beat-1:0][7:0] input_write_data, input_read_data, output_write_data, output_read_data;
  logic input_read, output_read, weight_slot;
  logic [1:0] weight_write;
  logic [1:0][BankWidth-1:0] weight_address;
  logic [1:0][Word-1:0][7:0] weight_data;
  logic [5:0] parameter_write;
  logic [GroupWidth-1:0] parameter_group;
  logic [5:0][Word-1:0][7:0] parameter_data;

  pot_load #(
    .Units(Units),
    .InputBytes(InputBytes),
    .WeightWords(WeightWords),
    .Groups(Groups),
    .Outstanding(Outstanding)
  ) u_load (
    .clk_i,
    .rst_ni,
    .valid_i(begins[0]),
    .ready_o(free[0]),
    .transfer_i(load),
    .done_o(done[0]),
    .busy_o(works[0]),
    .request_valid_o,
    .request_address_o,
    .request_ready_i,
    .beat_valid_i,
    .beat_i,
    .input_write_o(input_write),
    .input_address_o(input_write_address),
    .input_data_o(input_write_data),
    .weight_slot_o(weight_slot),
    .weight_write_o(weight_write),
    .weight_address_o(weight_address),
    .weight_data_o(weight_data),
    .parameter_write_o(parameter_write),
    .parameter_group_o(parameter_group),
    .parameter_data_o(parameter_data)
  );

  pot_lanes #(
    .Lanes(Beat),
    .Bytes(InputBytes)
  ) u_inputs (
    .clk_i,
    .write_i(input_write),
    .write_address_i(input_write_address),
    .write_data_i(input_write_data),
    .read_i(input_read),
    .read_address_i(input_read_address),
    .read_data_o(input_read_data)
  );

  pot_conv #(
    .CodeSet(CodeSet),
    .Units(Units),
    .InputBytes(InputBytes),
    .WindowBytes(WindowBytes),
    .WeightLines(WeightLines),
    .Groups(Groups),
    .OutputBytes(OutputBytes),
    .Tiles(Tiles)
  ) u_conv (
    .clk_i,
    .rst_ni,
    .valid_i(begins[1]),
    .ready_o(free[1]),
    .work_i(next),
    .done_o(done[1]),
    .busy_o(works[1]),
    .weight_slot_i(weight_slot),
    .weight_write_i(weight_write),
    .weight_address_i(weight_address),
    .weight_data_i(weight_data),
    .parameter_write_i(parameter_write),
    .parameter_group_i(parameter_group),
    .parameter_data_i(parameter_data),
    .input_read_o(input_read),
    .input_address_o(input_read_address),
    .input_data_i(input_read_data),
    .output_write_o(output_write),
    .output_address_o(output_write_address),
    .output_data_o(output_write_data)
  );

  pot_lanes #(
    .Lanes(Beat),
    .Bytes(OutputBytes)
  ) u_outputs (
    .clk_i,
    .write_i(output_write),
    .write_address_i(output_write_address),
    .write_data_i(output_write_data),
    .read_i(output_read),
    .read_address_i(output_read_address),
    .read_data_o(output_read_data)
  );

  pot_store #(
    .Units(Units),
    .OutputBytes(OutputBytes)
  ) u_store (
    .clk_i,
    .rst_ni,
    .valid_i(begins[2]),
    .ready_o(free[2]),
    .transfer_i(store),
    .done_o(done[2]),
    .busy_o(works[2]),
    .read_o(output_read),
    .read_address_o(output_read_address),
    .read_data_i(output_read_data),
    .write_valid_o,
    .write_address_o,
    .write_strobe_o,
    .write_data_o,
    .write_ready_i,
    .written_i
  );

  logic unused;
  assign unused = ^usage;

endmodule
