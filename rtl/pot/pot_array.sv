// The PoT array: commands and operands in, results out, a beat of four 32-bit words a cycle either way.
//
// Everything of a COMPUTE comes before the next packet is looked at. Values are those of potluck.isa.pot.array, packets
// and faults those of potluck.isa.pot.stream, times those of PoTAcc's v12 array with a broadcast of a line a cycle.
module pot_array
  import potluck_pot_pkg::*;
#(
  parameter int unsigned CodeSet     = SET_ANY,  // one set, SET_INT8, or SET_ANY: as CONFIG says
  parameter int unsigned Units       = 4,    // a power of two
  parameter int unsigned WeightLines = 64,   // of a unit: four depths of four filters
  parameter int unsigned InputLines  = 32,   // of a unit: four depths of four rows
  parameter int unsigned GlobalLines = 128,  // four depths of four rows
  parameter int unsigned Groups      = 8,    // of a unit: blocks whose parameters are kept
  parameter int unsigned QueueDepth  = 16,   // results that a unit keeps
  parameter bit          Overlap     = 1'b0  // of the PPU: a block every 16 cycles, not 29
) (
  input  logic             clk_i,
  input  logic             rst_ni,

  input  logic             valid_i,
  output logic             ready_o,
  input  logic [3:0][31:0] beat_i,
  input  logic [3:0]       last_i,

  output logic             valid_o,
  input  logic             ready_i,
  output logic [3:0][31:0] beat_o,
  output logic             last_o,

  output status_e          status_o,
  output logic             busy_o  // a COMPUTE is under way
);

  localparam int unsigned LinesPerWord = (CodeSet == SET_INT8) ? 1 : 2;
  localparam int unsigned WordWidth   = $clog2(WeightLines / LinesPerWord);
  localparam int unsigned InputWidth  = $clog2(InputLines);
  localparam int unsigned GlobalWidth = $clog2(GlobalLines);
  localparam int unsigned GroupWidth  = $clog2(Groups);

  if (Units != (1 << $clog2(Units))) begin : gen_refused
    $error("Units is %0d, no power of two", Units);
  end

  code_set_e code_set;
  logic [InputWidth:0] lines;
  logic [7:0] zero_point, low, high;
  logic [Units-1:0] weight_write, unit_start, unit_ready, result_valid, result_ready;
  logic [WordWidth-1:0] weight_address, unit_word;
  logic [Units-1:0][2:0] parameter_write;
  logic [GroupWidth-1:0] parameter_group, unit_group;
  logic global_write, global_read, input_write, start, done, drained;
  logic [GlobalWidth-1:0] global_write_address, global_read_address;
  logic [InputWidth-1:0] input_address;
  logic [127:0] input_line;
  logic [15:0] row_blocks, blocks;
  logic [Units-1:0][3:0][31:0] results;

  pot_command #(
    .CodeSet(CodeSet),
    .Units(Units),
    .WeightLines(WeightLines),
    .InputLines(InputLines),
    .GlobalLines(GlobalLines),
    .Groups(Groups)
  ) u_command (
    .clk_i,
    .rst_ni,
    .valid_i,
    .ready_o,
    .beat_i,
    .last_i,
    .status_o,
    .code_set_o(code_set),
    .lines_o(lines),
    .zero_point_o(zero_point),
    .low_o(low),
    .high_o(high),
    .weight_write_o(weight_write),
    .weight_address_o(weight_address),
    .parameter_write_o(parameter_write),
    .parameter_group_o(parameter_group),
    .global_write_o(global_write),
    .global_address_o(global_write_address),
    .start_o(start),
    .row_blocks_o(row_blocks),
    .blocks_o(blocks),
    .done_i(done)
  );

  pot_memory #(
    .Width(128),
    .Depth(GlobalLines)
  ) u_global (
    .clk_i,
    .write_i(global_write),
    .write_address_i(global_write_address),
    .write_data_i(beat_i),
    .read_i(global_read),
    .read_address_i(global_read_address),
    .read_data_o(input_line)
  );

  pot_scheduler #(
    .Units(Units),
    .LineWidth(InputWidth),
    .WordWidth(WordWidth),
    .GlobalWidth(GlobalWidth),
    .GroupWidth(GroupWidth),
    .LinesPerWord(LinesPerWord)
  ) u_scheduler (
    .clk_i,
    .rst_ni,
    .start_i(start),
    .row_blocks_i(row_blocks),
    .blocks_i(blocks),
    .lines_i(lines),
    .done_o(done),
    .global_read_o(global_read),
    .global_address_o(global_read_address),
    .input_write_o(input_write),
    .input_address_o(input_address),
    .unit_ready_i(unit_ready),
    .unit_start_o(unit_start),
    .unit_word_o(unit_word),
    .unit_group_o(unit_group),
    .drained_i(drained)
  );

  for (genvar u = 0; u < Units; u++) begin : gen_unit
    pot_unit #(
      .CodeSet(CodeSet),
      .WeightLines(WeightLines),
      .InputLines(InputLines),
      .Groups(Groups),
      .QueueDepth(QueueDepth),
      .Overlap(Overlap)
    ) u_unit (
      .clk_i,
      .rst_ni,
      .code_set_i(code_set),
      .lines_i(lines),
      .zero_point_i(zero_point),
      .low_i(low),
      .high_i(high),
      .weight_write_i(weight_write[u]),
      .weight_address_i(weight_address),
      .parameter_write_i(parameter_write[u]),
      .parameter_group_i(parameter_group),
      .load_data_i(beat_i),
      .input_write_i(input_write),
      .input_address_i(input_address),
      .input_data_i(input_line),
      .start_i(unit_start[u]),
      .start_word_i(unit_word),
      .start_group_i(unit_group),
      .ready_o(unit_ready[u]),
      .valid_o(result_valid[u]),
      .ready_i(result_ready[u]),
      .result_o(results[u])
    );
  end

  pot_arranger #(
    .Units(Units)
  ) u_arranger (
    .clk_i,
    .rst_ni,
    .start_i(start),
    .row_blocks_i(row_blocks),
    .blocks_i(blocks),
    .status_i(status_o),
    .drained_o(drained),
    .valid_i(result_valid),
    .ready_o(result_ready),
    .result_i(results),
    .valid_o,
    .ready_i,
    .beat_o,
    .last_o
  );

  logic busy_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) busy_q <= 1'b0;
    else if (start) busy_q <= 1'b1;
    else if (done) busy_q <= 1'b0;
  end
  assign busy_o = busy_q;

endmodule
