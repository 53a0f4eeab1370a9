// Says whether a command of the queue is legal, and works out what its engine needs to know: one product a cycle.
// Statuses and their order are those of potluck.isa.pot.command.decode and of the simulator's accelerator. It also
// keeps what slots hold and which commands last wrote and read them, as the queue's order has it.
module pot_checker
  import potluck_pot_pkg::*;
  import potluck_pot_command_pkg::*;
  import pot_engine_pkg::*;
#(
  parameter int unsigned CodeSet     = SET_ANY,  // or SET_INT8
  parameter int unsigned Units       = 4,
  parameter int unsigned InputBytes  = 4096,  // of a slot
  parameter int unsigned WindowBytes = 1024,  // of one pixel
  parameter int unsigned WeightLines = 128,   // of a slot and unit
  parameter int unsigned Groups      = 8,     // weight blocks of a slot and unit
  parameter int unsigned OutputBytes = 1024,  // of a slot
  parameter int unsigned Tiles       = 16     // of a unit: kept accumulators
) (
  input  logic              clk_i,
  input  logic              rst_ni,
  input  logic              clear_i,   // forget what slots hold
  input  logic              rewind_i,  // another queue: count from 0, all has ended

  input  logic [1:0][63:0]  memory_begin_i,  // L1 and DRAM: first address, first one behind
  input  logic [1:0][63:0]  memory_end_i,
  input  logic [63:0]       writable_i,      // DRAM before it is not written

  input  logic              start_i,
  input  command_t          words_i,  // steady until the next start, as ends_i
  input  logic              ends_i,   // it is the queue's last one
  output logic              done_o,   // for a cycle: what follows is valid, and stays
  output status_e           status_o,
  output logic              loads_o,  // a load, a computation, a store, or none of them
  output logic              computes_o,
  output logic              stores_o,
  output counts_t           waits_o,
  output transfer_t         transfer_o,
  output work_t             work_o,
  input  logic              commit_i  // it goes to its engine
);

  localparam int unsigned LineWords = (CodeSet == SET_INT8) ? 2 : 1;
  localparam int unsigned ParameterWords = 6;
  localparam int unsigned Beat = 16 * Units;
  localparam int unsigned UnitShift = $clog2(Units);

  if (InputBytes > 65536 || OutputBytes > 65536 || WindowBytes > 65536) begin : gen_refused
    $error("No buffer may have more than 64 KiB");
  end

  logic [7:0] opcode;
  compute_t c;
  load_inputs_t range;
  load_weights_t w;
  assign opcode = words_i[0][7:0];
  assign c      = compute_of(words_i);
  assign range  = load_inputs_of(words_i);
  assign w      = load_weights_of(words_i);

  logic is_compute, is_weights, is_inputs, is_store, is_fence;
  assign is_compute = opcode == CMD_COMPUTE;
  assign is_weights = opcode == CMD_LOAD_WEIGHTS;
  assign is_inputs  = opcode == CMD_LOAD_INPUTS;
  assign is_store   = opcode == CMD_STORE;
  assign is_fence   = opcode == CMD_FENCE;

  function automatic size_t clipped(input logic [31:0] value);
    clipped = (|value[31:18]) ? '1 : value[17:0];
  endfunction

  // Products, by the steps of a command.
  typedef enum logic [4:0] {
    Area, Size, Pitch, Taps, Depth, Run, Pixels, Outputs, KeptTiles, Lines, ColumnStep, RowStep, TapRowStep, TapStep,
    Left, Top, Range, Verdict
  } step_e;
  step_e step_q;
  logic running_q;
  logic [17:0] left, right;
  logic [35:0] product;
  size_t limited;
  size_t area_q, size_q, pitch_q, taps_q, depth_q, run_q, pixels_q, outputs_q, tiles_q, lines_q;
  size_t column_step_q, row_step_q, tap_row_step_q, tap_step_q, left_q, top_q;
  logic [49:0] span_q;
  size_t positions, window_depth, rounds, blocks, words;
  logic [31:0] stride_size;

  assign product = left * right;
  assign limited = (|product[35:18]) ? '1 : product[17:0];
  assign window_depth = c.depthwise ? taps_q : depth_q;
  assign positions = c.depthwise ? taps_q : (depth_q + 18'd3) >> 2;
  assign blocks = is_compute ? (18'(c.filters) + 18'd3) >> 2 : clipped(w.blocks);
  assign rounds = (&blocks) ? '1 : (blocks + 18'(Units - 1)) >> UnitShift;
  assign words  = (clipped(w.lines) << (LineWords - 1)) + 18'(ParameterWords);
  assign stride_size = range.stride[31] ? 32'd0 - $unsigned(range.stride) : $unsigned(range.stride);

  always_comb begin
    left  = 18'(c.channels);
    right = '0;
    case (step_q)
      Area:       if (is_compute) {left, right} = {18'(c.height), 18'(c.width)};
                  else if (is_weights) {left, right} = {rounds, clipped(w.lines)};
                  else {left, right} = {clipped(range.rows), clipped(range.row_bytes)};
      Size:       if (is_compute) right = area_q;
                  else if (is_weights) {left, right} = {rounds, words};
                  else {left, right} = {clipped(range.rows) - 18'd1, 2'b0, stride_size[15:0]};
      Pitch:      if (is_compute) right = 18'(c.width);
                  else {left, right} = {clipped(range.rows) - 18'd1, 2'b0, stride_size[31:16]};
      Taps:       {left, right} = {10'd0, c.kernel_height, 10'd0, c.kernel_width};
      Depth:      right = taps_q;
      Run:        right = 18'(c.kernel_width);
      Pixels:     {left, right} = {2'd0, c.out_height, 2'd0, c.out_width};
      Outputs:    {left, right} = {pixels_q, 2'd0, c.filters};
      KeptTiles:  {left, right} = {(&pixels_q) ? pixels_q : (pixels_q + 18'd3) >> 2, rounds};
      Lines:      {left, right} = {positions, c.depthwise ? ((c.planes > 3'd4) ? 18'd2 : 18'd1) : 18'(c.planes)};
      ColumnStep: right = 18'(c.stride_width);
      RowStep:    {left, right} = {pitch_q, 10'd0, c.stride_height};
      TapRowStep: {left, right} = {pitch_q, 10'd0, c.dilation_height};
      TapStep:    right = 18'(c.dilation_width);
      Left:       right = 18'(c.pad_left);
      Top:        {left, right} = {pitch_q, 10'd0, c.pad_top};
      default: ;
    endcase
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      running_q <= 1'b0;
      step_q    <= Area;
    end else if (start_i) begin
      running_q <= 1'b1;
      step_q    <= (is_compute || is_weights || is_inputs || is_store) ? Area : Verdict;
    end else if (running_q) begin
      if (step_q == Verdict) running_q <= 1'b0;
      else if (!is_compute && step_q == Pitch) step_q <= Range;
      else step_q <= step_e'(step_q + 5'd1);
    end
  end
  assign done_o = running_q & (step_q == Verdict);

  always_ff @(posedge clk_i) begin
    if (running_q) begin
      case (step_q)
        Area:       area_q         <= limited;
        Size: begin
          size_q <= limited;
          span_q <= is_weights ? '0 : 50'(product);
        end
        Pitch: begin
          pitch_q <= limited;
          if (!is_weights) span_q <= span_q + {product[33:0], 16'd0};
        end
        Taps:       taps_q         <= limited;
        Depth:      depth_q        <= limited;
        Run:        run_q          <= limited;
        Pixels:     pixels_q       <= limited;
        Outputs:    outputs_q      <= limited;
        KeptTiles:  tiles_q        <= limited;
        Lines:      lines_q        <= limited;
        ColumnStep: column_step_q  <= product[17:0];
        RowStep:    row_step_q     <= product[17:0];
        TapRowStep: tap_row_step_q <= product[17:0];
        TapStep:    tap_step_q     <= product[17:0];
        Left:       left_q         <= product[17:0];
        Top:        top_q          <= product[17:0];
        default: ;
      endcase
    end
  end

  // The range of memory, and whether it lies inside one of the two.
  logic [63:0] address;
  logic signed [66:0] low_q, high_q;
  size_t bytes;  // of a range; legal ones only
  logic [31:0] last_row;
  assign address  = is_weights ? w.address : range.address;
  assign bytes    = area_q;
  assign last_row = is_weights ? 32'(size_q) << (UnitShift + 3) : range.row_bytes;

  always_ff @(posedge clk_i) begin
    if (step_q == Range) begin
      low_q  <= 67'(address) - (range.stride[31] && !is_weights ? 67'(span_q) : 67'd0);
      high_q <= 67'(address) + (range.stride[31] && !is_weights ? 67'd0 : 67'(span_q)) + 67'(last_row);
    end
  end

  logic [1:0] in_memory;
  logic address_ok;
  for (genvar m = 0; m < 2; m++) begin : gen_memory
    assign in_memory[m] = low_q >= $signed(67'(memory_begin_i[m])) && high_q <= $signed(67'(memory_end_i[m]));
  end
  assign address_ok = (|in_memory) && !(is_weights && (|address[UnitShift+3:0]))
                    && !(is_store && in_memory[1] && low_q < $signed(67'(writable_i)));

  // What slots hold.
  size_t input_filled_q[2], output_filled_q[2], held_lines_q[2], held_blocks_q[2];  // no weights: no blocks
  size_t kept_pixels_q;  // 0: none
  size_t kept_blocks_q;
  size_t filled, end_of_range;
  assign filled       = is_store ? output_filled_q[range.slot] : input_filled_q[range.slot];
  assign end_of_range = (clipped(range.offset) > 18'd131071) ? '1 : clipped(range.offset) + bytes;

  logic range_fits;
  assign range_fits = !(&bytes) && end_of_range >= bytes
                    && end_of_range <= (is_store ? 18'(OutputBytes) : 18'(InputBytes));

  logic parts;
  logic [19:0] output_bytes;
  assign parts        = !(c.first_part && c.final_part);
  assign output_bytes = (c.law == LAW_FLOAT) ? {outputs_q, 2'd0} : {2'd0, outputs_q};

  status_e own;
  always_comb begin
    own = OK;
    if (is_inputs) begin
      if (!range_fits || clipped(range.offset) > filled && range.offset != '0) own = BAD_SIZE;
      else if (!address_ok) own = BAD_ADDRESS;
    end else if (is_store) begin
      if (!range_fits) own = BAD_SIZE;
      else if (end_of_range > filled) own = NOT_LOADED;
      else if (!address_ok) own = BAD_ADDRESS;
    end else if (is_weights) begin
      if (area_q > 18'(WeightLines) || rounds > 18'(Groups)) own = BAD_SIZE;
      else if (!address_ok) own = BAD_ADDRESS;
    end else if (is_compute) begin
      if ((CodeSet == SET_INT8) != (32'(c.code_set) == SET_INT8)) own = BAD_MODE;
      else if (size_q > input_filled_q[c.inputs] || held_blocks_q[c.weights] < blocks
               || held_lines_q[c.weights] != lines_q) own = NOT_LOADED;
      else if ((c.depthwise ? positions > 18'(WindowBytes / Beat) : positions > 18'(WindowBytes / 4))
               || (c.final_part && output_bytes > 20'(OutputBytes)) || (parts && tiles_q > 18'(Tiles))) own = BAD_SIZE;
      else if (!c.first_part && (kept_pixels_q != pixels_q || kept_blocks_q != blocks)) own = NOT_LOADED;
    end
  end

  always_comb begin
    if (!known(opcode)) status_o = BAD_OPCODE;
    else if (bad_mode(words_i)) status_o = BAD_MODE;
    else if (bad_size(words_i) || reserved(words_i)) status_o = BAD_SIZE;
    else if (words_i[0][8] && !ends_i) status_o = EARLY_LAST;
    else if (!words_i[0][8] && ends_i) status_o = MISSING_LAST;
    else status_o = own;
  end

  // Who has to end before. A command's own number counts from 1 in its engine.
  counts_t issued_q, fence_q;
  logic [15:0] input_loaded_q[2], weights_loaded_q[2], output_stored_q[2];
  logic [15:0] input_read_q[2], weights_read_q[2], output_made_q[2];
  logic load_slot;
  assign load_slot = is_weights ? w.slot : range.slot;

  function automatic logic [15:0] later(input logic [15:0] a, input logic [15:0] b);
    later = (a > b) ? a : b;
  endfunction

  always_comb begin
    waits_o = fence_q;
    if (is_compute) begin
      waits_o.loads = later(later(input_loaded_q[c.inputs], weights_loaded_q[c.weights]), fence_q.loads);
      if (c.final_part) waits_o.stores = later(output_stored_q[c.outputs], fence_q.stores);
    end else if (is_store) begin
      waits_o.computes = later(output_made_q[range.slot], fence_q.computes);
    end else begin
      waits_o.computes = later(is_weights ? weights_read_q[load_slot] : input_read_q[load_slot], fence_q.computes);
    end
  end

  assign loads_o    = is_inputs | is_weights;
  assign computes_o = is_compute;
  assign stores_o   = is_store;

  counts_t next;
  assign next.loads    = issued_q.loads + 16'd1;
  assign next.computes = issued_q.computes + 16'd1;
  assign next.stores   = issued_q.stores + 16'd1;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      issued_q <= '0;
      fence_q  <= '0;
      kept_pixels_q <= '0;
      kept_blocks_q <= '0;
      for (int s = 0; s < 2; s++) begin
        input_loaded_q[s]   <= '0;
        weights_loaded_q[s] <= '0;
        output_stored_q[s]  <= '0;
        input_read_q[s]     <= '0;
        weights_read_q[s]   <= '0;
        output_made_q[s]    <= '0;
        input_filled_q[s]   <= '0;
        output_filled_q[s]  <= '0;
        held_lines_q[s]     <= '0;
        held_blocks_q[s]    <= '0;
      end
    end else begin
      if (rewind_i) begin
        issued_q <= '0;
        fence_q  <= '0;
        for (int s = 0; s < 2; s++) begin
          input_loaded_q[s]   <= '0;
          weights_loaded_q[s] <= '0;
          output_stored_q[s]  <= '0;
          input_read_q[s]     <= '0;
          weights_read_q[s]   <= '0;
          output_made_q[s]    <= '0;
        end
      end
      if (clear_i) begin
        kept_pixels_q <= '0;
        for (int s = 0; s < 2; s++) begin
          input_filled_q[s]  <= '0;
          output_filled_q[s] <= '0;
          held_blocks_q[s]   <= '0;
        end
      end
      if (commit_i) begin
        if (is_fence) fence_q <= issued_q;
        if (is_inputs) begin
          issued_q.loads             <= next.loads;
          input_loaded_q[range.slot] <= next.loads;
          if (range.offset == '0 || end_of_range > filled) input_filled_q[range.slot] <= end_of_range;
        end
        if (is_weights) begin
          issued_q.loads           <= next.loads;
          weights_loaded_q[w.slot] <= next.loads;
          held_lines_q[w.slot]     <= clipped(w.lines);
          held_blocks_q[w.slot]    <= blocks;
        end
        if (is_store) begin
          issued_q.stores             <= next.stores;
          output_stored_q[range.slot] <= next.stores;
        end
        if (is_compute) begin
          issued_q.computes         <= next.computes;
          input_read_q[c.inputs]    <= next.computes;
          weights_read_q[c.weights] <= next.computes;
          kept_pixels_q             <= c.final_part ? '0 : pixels_q;
          kept_blocks_q             <= blocks;
          if (c.final_part) begin
            output_made_q[c.outputs]   <= next.computes;
            output_filled_q[c.outputs] <= output_bytes[17:0];
          end
        end
      end
    end
  end

  assign transfer_o = '{
    weights: is_weights, slot: load_slot, address: address, rows: is_weights ? 18'd1 : clipped(range.rows),
    row_bytes: last_row, stride: range.stride, offset: clipped(range.offset),
    lines: clipped(w.lines) << (LineWords - 1)
  };
  assign work_o = '{
    fields: c, pixels: pixels_q, taps: taps_q, depth: window_depth, lines: lines_q, rounds: rounds, row_pitch: pitch_q,
    column_step: column_step_q, row_step: row_step_q, tap_step: tap_step_q, tap_row_step: tap_row_step_q,
    run_bytes: run_q, left: left_q, top: top_q
  };

endmodule
