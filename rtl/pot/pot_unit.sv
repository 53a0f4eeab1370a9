// One vector unit: buffers of weights, inputs and parameters, 64 PEs, a PPU and the queue of its results.
//
// A block, four filters, is started in a cycle T. Its lines are read in the `lines` cycles that follow, eight cycles
// later the PPU may take the sums, and two after that the unit is ready again: the times of PoTAcc's v12 array.
`include "assertions.svh"

module pot_unit
  import potluck_pot_pkg::*;
#(
  parameter int unsigned CodeSet = SET_ANY,
  parameter int unsigned WeightLines = 64,  // of four depths of four filters
  parameter int unsigned InputLines  = 32,  // of four depths of four rows
  parameter int unsigned Groups      = 8,   // blocks whose parameters are kept
  parameter int unsigned QueueDepth  = 16,
  parameter bit          Overlap     = 1'b0,  // of the PPU
  localparam int unsigned LinesPerWord = (CodeSet == SET_INT8) ? 1 : 2,
  localparam int unsigned WordWidth  = $clog2(WeightLines / LinesPerWord),
  localparam int unsigned InputWidth = $clog2(InputLines),
  localparam int unsigned GroupWidth = $clog2(Groups)
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,

  // Modes, steady while the unit works.
  input  code_set_e             code_set_i,
  input  logic [InputWidth:0]   lines_i,  // a quarter of the depth, at least four
  input  logic [7:0]            zero_point_i,
  input  logic [7:0]            low_i,
  input  logic [7:0]            high_i,

  // Loads.
  input  logic                  weight_write_i,
  input  logic [WordWidth-1:0]  weight_address_i,
  input  logic [2:0]            parameter_write_i,  // wsums, multipliers, shifts
  input  logic [GroupWidth-1:0] parameter_group_i,
  input  logic [3:0][31:0]      load_data_i,
  input  logic                  input_write_i,
  input  logic [InputWidth-1:0] input_address_i,
  input  logic [127:0]          input_data_i,

  // A block.
  input  logic                  start_i,
  input  logic [WordWidth-1:0]  start_word_i,  // of its weights
  input  logic [GroupWidth-1:0] start_group_i,
  output logic                  ready_o,

  output logic                  valid_o,
  input  logic                  ready_i,
  output logic [3:0][31:0]      result_o  // of each row four filters
);

  localparam int unsigned WeightBits = (CodeSet == SET_INT8) ? 8 : 4;

  typedef enum logic [2:0] {
    Idle,
    Run,
    Drain,
    Offer,
    Rest
  } state_e;

  state_e state_q;
  logic [InputWidth:0] line_q;
  logic [WordWidth-1:0] word_q;
  logic [GroupWidth-1:0] group_q;
  logic [2:0] wait_q;
  logic last_line, offered;

  assign last_line = line_q == lines_i - (InputWidth + 1)'(1);
  assign ready_o   = state_q == Idle;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q <= Idle;
      wait_q  <= '0;
    end else begin
      case (state_q)
        Idle: if (start_i) state_q <= Run;
        Run: begin
          wait_q <= '0;
          if (last_line) state_q <= Drain;
        end
        Drain: begin
          wait_q <= wait_q + 3'd1;
          if (wait_q == 3'd7) state_q <= Offer;
        end
        Offer: begin
          wait_q <= '0;
          if (offered) state_q <= Rest;
        end
        Rest: begin
          wait_q <= wait_q + 3'd1;
          if (wait_q == 3'd1) state_q <= Idle;
        end
        default: state_q <= Idle;
      endcase
    end
  end

  // A word of the weight buffer holds eight depths of shift codes: two lines.
  logic next_word;
  assign next_word = (LinesPerWord == 1) | line_q[0];

  always_ff @(posedge clk_i) begin
    if (state_q == Idle) begin
      line_q <= '0;
      if (start_i) begin
        word_q  <= start_word_i;
        group_q <= start_group_i;
      end
    end else if (state_q == Run) begin
      line_q <= line_q + (InputWidth + 1)'(1);
      if (next_word) word_q <= word_q + WordWidth'(1);
    end
  end

  logic running, read_q;
  logic half_q;
  logic [3:0][31:0] weight_word;
  logic [3:0][3:0][WeightBits-1:0] weights;
  logic [127:0] input_line;
  assign running = state_q == Run;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) read_q <= 1'b0;
    else read_q <= running;
  end
  always_ff @(posedge clk_i) half_q <= line_q[0];

  pot_memory #(
    .Width(128),
    .Depth(WeightLines / LinesPerWord)
  ) u_weights (
    .clk_i,
    .write_i(weight_write_i),
    .write_address_i(weight_address_i),
    .write_data_i(load_data_i),
    .read_i(running),
    .read_address_i(word_q),
    .read_data_o(weight_word)
  );

  pot_memory #(
    .Width(128),
    .Depth(InputLines)
  ) u_inputs (
    .clk_i,
    .write_i(input_write_i),
    .write_address_i(input_address_i),
    .write_data_i(input_data_i),
    .read_i(running),
    .read_address_i(line_q[InputWidth-1:0]),
    .read_data_o(input_line)
  );

  for (genvar f = 0; f < 4; f++) begin : gen_filter
    if (LinesPerWord == 2) begin : gen_half
      assign weights[f] = half_q ? weight_word[f][31:16] : weight_word[f][15:0];
    end else begin : gen_whole
      assign weights[f] = weight_word[f];
    end
  end
  if (LinesPerWord == 1) begin : gen_unused
    logic unused_half;
    assign unused_half = half_q;
  end

  // Parameters of a block: read as long as it runs, steady until the next one starts.
  logic [3:0][31:0] wsums;
  logic [3:0][30:0] load_multipliers, multipliers;
  logic [3:0][5:0] load_shifts, shifts;
  for (genvar f = 0; f < 4; f++) begin : gen_parameter
    assign load_multipliers[f] = load_data_i[f][30:0];
    assign load_shifts[f]      = load_data_i[f][5:0];
  end

  pot_memory #(
    .Width(4 * 32),
    .Depth(Groups)
  ) u_wsums (
    .clk_i,
    .write_i(parameter_write_i[0]),
    .write_address_i(parameter_group_i),
    .write_data_i(load_data_i),
    .read_i(running),
    .read_address_i(group_q),
    .read_data_o(wsums)
  );

  pot_memory #(
    .Width(4 * 31),
    .Depth(Groups)
  ) u_multipliers (
    .clk_i,
    .write_i(parameter_write_i[1]),
    .write_address_i(parameter_group_i),
    .write_data_i(load_multipliers),
    .read_i(running),
    .read_address_i(group_q),
    .read_data_o(multipliers)
  );

  pot_memory #(
    .Width(4 * 6),
    .Depth(Groups)
  ) u_shifts (
    .clk_i,
    .write_i(parameter_write_i[2]),
    .write_address_i(parameter_group_i),
    .write_data_i(load_shifts),
    .read_i(running),
    .read_address_i(group_q),
    .read_data_o(shifts)
  );

  logic [3:0][3:0][31:0] sums;
  logic clear, summing;
  logic [2:0] row;
  assign clear   = running & (line_q == '0);
  assign row     = wait_q - 3'd3;
  assign summing = (state_q == Drain) & (wait_q >= 3'd3) & (wait_q < 3'd7);

  pot_compute #(
    .CodeSet(CodeSet)
  ) u_compute (
    .clk_i,
    .rst_ni,
    .code_set_i,
    .clear_i(clear),
    .valid_i(read_q),
    .rows_i(input_line),
    .weights_i(weights),
    .row_valid_i(summing),
    .row_i(row[1:0]),
    .wsums_i(wsums),
    .sums_o(sums)
  );

  // A block in the PPU already has its place in the queue.
  localparam int unsigned UsageWidth = $clog2(QueueDepth + 1);
  logic [UsageWidth-1:0] usage, inside_q;
  logic post_ready, room, posted;
  logic [3:0][31:0] post_result;

  assign room    = usage + inside_q < UsageWidth'(QueueDepth);
  assign offered = (state_q == Offer) & post_ready & room;

  pot_ppu #(
    .Overlap(Overlap)
  ) u_ppu (
    .clk_i,
    .rst_ni,
    .zero_point_i($signed(zero_point_i)),
    .low_i($signed(low_i)),
    .high_i($signed(high_i)),
    .valid_i((state_q == Offer) & room),
    .ready_o(post_ready),
    .sums_i(sums),
    .multipliers_i(multipliers),
    .shifts_i(shifts),
    .valid_o(posted),
    .result_o(post_result)
  );

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) inside_q <= '0;
    else if (offered != posted) inside_q <= offered ? inside_q + UsageWidth'(1) : inside_q - UsageWidth'(1);
  end

  logic queue_ready;
  fifo #(
    .Width(128),
    .Depth(QueueDepth)
  ) u_queue (
    .clk_i,
    .rst_ni,
    .valid_i(posted),
    .ready_o(queue_ready),
    .data_i(post_result),
    .valid_o,
    .ready_i,
    .data_o(result_o),
    .usage_o(usage)
  );

  `POTLUCK_ASSERT(RoomWasPromised, posted |-> queue_ready)
  `POTLUCK_ASSERT(StartsWhenReady, start_i |-> ready_o)

  logic unused;
  assign unused = ^{queue_ready, row[2]};

endmodule
