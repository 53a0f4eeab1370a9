// Computations of the cluster's accelerator, one after the other: an address generator with its window buffer, weights
// in two slots, units, requantizers. Slots of inputs and outputs lie outside.
module pot_conv
  import potluck_pot_pkg::*;
  import pot_engine_pkg::*;
#(
  parameter int unsigned CodeSet     = SET_ANY,
  parameter int unsigned Units       = 4,
  parameter int unsigned InputBytes  = 4096,  // these as of pot_engine
  parameter int unsigned WindowBytes = 1024,
  parameter int unsigned WeightLines = 128,
  parameter int unsigned Groups      = 8,
  parameter int unsigned OutputBytes = 1024,
  parameter int unsigned Tiles       = 16,
  localparam int unsigned WeightBits  = (CodeSet == SET_INT8) ? 8 : 4,
  localparam int unsigned Banks       = 8 / WeightBits,  // lines that a beat of weights holds
  localparam int unsigned Lanes       = 16 * Units,
  localparam int unsigned Word        = 8 * Units,
  localparam int unsigned InputWidth  = $clog2(InputBytes),
  localparam int unsigned OutputWidth = $clog2(OutputBytes),
  localparam int unsigned GroupWidth  = $clog2(Groups),
  localparam int unsigned LineWidth   = $clog2(WeightLines),
  localparam int unsigned BankWidth   = LineWidth + 1 - Banks
) (
  input  logic                       clk_i,
  input  logic                       rst_ni,

  input  logic                       valid_i,
  output logic                       ready_o,
  input  work_t                      work_i,
  output logic                       done_o,  // for a cycle: a computation has ended
  output logic                       busy_o,

  // Weights are loaded.
  input  logic                       weight_slot_i,
  input  logic [1:0]                 weight_write_i,
  input  logic [1:0][BankWidth-1:0]  weight_address_i,
  input  logic [1:0][Word-1:0][7:0]  weight_data_i,
  input  logic [5:0]                 parameter_write_i,
  input  logic [GroupWidth-1:0]      parameter_group_i,
  input  logic [5:0][Word-1:0][7:0]  parameter_data_i,

  output logic                       input_read_o,
  output logic [InputWidth:0]        input_address_o,
  input  logic [Lanes-1:0][7:0]      input_data_i,
  output logic [Lanes-1:0]           output_write_o,
  output logic [OutputWidth:0]       output_address_o,
  output logic [Lanes-1:0][7:0]      output_data_o
);

  localparam int unsigned WindowWidth = $clog2(WindowBytes);
  localparam int unsigned WordWidth   = WindowWidth - $clog2(Lanes);
  localparam int unsigned MemberWidth = (Units > 1) ? $clog2(Units) : 1;
  localparam int unsigned TileWidth   = $clog2(Tiles);

  typedef enum logic [1:0] {
    Idle,
    Start,
    Run
  } state_e;
  state_e state_q;
  work_t w;
  logic start, windows_busy, lines_busy, post_busy;
  assign ready_o = state_q == Idle;
  assign busy_o  = state_q != Idle;
  assign start   = state_q == Start;
  assign done_o  = (state_q == Run) & ~windows_busy & ~lines_busy & ~post_busy;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) state_q <= Idle;
    else if (valid_i && ready_o) state_q <= Start;
    else if (start) state_q <= Run;
    else if (done_o) state_q <= Idle;
  end
  always_ff @(posedge clk_i) if (valid_i && ready_o) w <= work_i;

  // Row blocks whose windows are read or there, of which the window buffer holds two.
  logic begins, releases, full;
  logic [1:0] held_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) held_q <= '0;
    else held_q <= held_q + 2'(begins) - 2'(releases);
  end

  logic [Lanes-1:0] window_write;
  logic window_half;
  logic [1:0] window_row;
  logic [WindowWidth-1:0] window_address;
  logic [Lanes-1:0][7:0] window_data;
  pot_windows #(
    .Units(Units),
    .InputBytes(InputBytes),
    .WindowBytes(WindowBytes)
  ) u_windows (
    .clk_i,
    .rst_ni,
    .start_i(start),
    .work_i(w),
    .free_i((held_q != 2'd2) | releases),
    .begins_o(begins),
    .full_o(full),
    .busy_o(windows_busy),
    .read_o(input_read_o),
    .read_address_o(input_address_o),
    .read_data_i(input_data_i),
    .write_o(window_write),
    .write_half_o(window_half),
    .write_row_o(window_row),
    .write_address_o(window_address),
    .write_data_o(window_data)
  );

  logic valid, last, half, valid_q, row_valid;
  logic [LineWidth-1:0] line;
  logic [WordWidth-1:0] word;
  logic [1:0] quarter;
  logic [MemberWidth-1:0] member, member_q;
  logic [3:0] depths, depths_q, filters, filters_q;
  logic [GroupWidth-1:0] group;
  logic [TileWidth-1:0] tile;
  logic [2:0] rows;
  logic [OutputWidth-1:0] address;
  size_t filters_left;
  pot_sequencer #(
    .Units(Units),
    .WindowBytes(WindowBytes),
    .WeightLines(WeightLines),
    .Groups(Groups),
    .OutputBytes(OutputBytes),
    .Tiles(Tiles)
  ) u_sequencer (
    .clk_i,
    .rst_ni,
    .start_i(start),
    .work_i(w),
    .full_i(full),
    .releases_o(releases),
    .busy_o(lines_busy),
    .valid_o(valid),
    .last_o(last),
    .line_o(line),
    .half_o(half),
    .word_o(word),
    .quarter_o(quarter),
    .member_o(member),
    .depths_o(depths),
    .filters_o(filters),
    .group_o(group),
    .tile_o(tile),
    .rows_o(rows),
    .address_o(address),
    .filters_left_o(filters_left)
  );

  logic [3:0][4*Units-1:0][7:0] quarters;
  pot_window_buffer #(
    .Units(Units),
    .WindowBytes(WindowBytes)
  ) u_buffer (
    .clk_i,
    .write_i(window_write),
    .write_half_i(window_half),
    .write_row_i(window_row),
    .write_address_i(window_address),
    .write_data_i(window_data),
    .read_i(valid),
    .read_half_i(half),
    .read_word_i(word),
    .read_quarter_i(quarter),
    .rows_o(quarters)
  );

  // Weights: even and odd words of a slot. A line of four-bit weights is a word, one of eight bits is two.
  logic [BankWidth-1:0] bank_address;
  logic [1:0][Word-1:0][7:0] bank_data;
  logic [1:0] bank_read;
  for (genvar b = 0; b < 2; b++) begin : gen_bank
    pot_memory #(
      .Width(8 * Word),
      .Depth(2 << BankWidth)
    ) u_weights (
      .clk_i,
      .write_i(weight_write_i[b]),
      .write_address_i({weight_slot_i, weight_address_i[b]}),
      .write_data_i(weight_data_i[b]),
      .read_i(bank_read[b]),
      .read_address_i({w.fields.weights, bank_address}),
      .read_data_o(bank_data[b])
    );
  end
  logic [Units-1:0][3:0][3:0][WeightBits-1:0] weights;
  if (Banks == 2) begin : gen_four
    logic odd_q;
    always_ff @(posedge clk_i) odd_q <= line[0];
    assign bank_address = line[LineWidth-1:1];
    assign bank_read    = valid ? {line[0], ~line[0]} : '0;
    assign weights      = bank_data[odd_q];
  end else begin : gen_eight
    assign bank_address = line;
    assign bank_read    = {2{valid}};
    assign weights      = bank_data;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) valid_q <= 1'b0;
    else valid_q <= valid;
  end
  always_ff @(posedge clk_i) begin
    member_q  <= member;
    depths_q  <= depths;
    filters_q <= filters;
  end

  // All units take the same four depths of a quarter, or each its own four channels.
  logic [1:0] row;
  logic [Units-1:0][3:0][31:0] sums;
  logic [3:0][Units-1:0][3:0][7:0] members;
  assign members = quarters;
  for (genvar u = 0; u < Units; u++) begin : gen_unit
    logic [3:0][3:0][7:0] pixels;
    always_comb begin
      for (int r = 0; r < 4; r++) begin
        pixels[r] = w.fields.depthwise ? members[r][u] : members[r][member_q];
        for (int d = 0; d < 4; d++) if (!depths_q[d]) pixels[r][d] = '0;
      end
    end
    pot_engine_unit #(
      .CodeSet(CodeSet)
    ) u_unit (
      .clk_i,
      .rst_ni,
      .code_set_i(code_set_e'(w.fields.code_set[1:0])),
      .transpose_i(w.fields.depthwise),
      .clear_i(start),
      .valid_i(valid_q),
      .filters_i(filters_q),
      .rows_i(pixels),
      .weights_i(weights[u]),
      .row_valid_i(row_valid),
      .row_i(row),
      .sums_o(sums[u])
    );
  end

  pot_post #(
    .Units(Units),
    .Groups(Groups),
    .OutputBytes(OutputBytes),
    .Tiles(Tiles)
  ) u_post (
    .clk_i,
    .rst_ni,
    .work_i(w),
    .parameter_slot_i(weight_slot_i),
    .parameter_write_i,
    .parameter_group_i,
    .parameter_data_i,
    .last_i(last),
    .group_i(group),
    .tile_i(tile),
    .rows_i(rows),
    .address_i(address),
    .filters_left_i(filters_left),
    .row_valid_o(row_valid),
    .row_o(row),
    .sums_i(sums),
    .write_o(output_write_o),
    .write_address_o(output_address_o),
    .write_data_o(output_data_o),
    .busy_o(post_busy)
  );

endmodule
