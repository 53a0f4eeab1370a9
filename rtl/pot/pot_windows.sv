// Address generator of a computation: reads the windows of output pixels from the input slot, as many neighbouring
// bytes a cycle as the slot has lanes, and writes them into the window buffer, four pixels (a row block) into one of
// its halves.
//
// A window is read in runs of neighbouring bytes: its rows, or its taps where a row has gaps or each channel stands
// alone. Depthwise, a pass over all pixels takes as many channels as there are lanes. What lies beyond the border is
// read, too, and replaced. What is read in a cycle is written two cycles later.
module pot_windows
  import pot_engine_pkg::*;
#(
  parameter int unsigned Units       = 4,
  parameter int unsigned InputBytes  = 4096,  // of a slot
  parameter int unsigned WindowBytes = 1024,
  localparam int unsigned Lanes       = 16 * Units,
  localparam int unsigned LaneWidth   = $clog2(Lanes),
  localparam int unsigned InputWidth  = $clog2(InputBytes),
  localparam int unsigned WindowWidth = $clog2(WindowBytes)
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   start_i,
  input  work_t                  work_i,  // from start_i to the end
  input  logic                   free_i,  // the half of the next row block may be written
  output logic                   begins_o,  // a row block's first read
  output logic                   full_o,    // its last write
  output logic                   busy_o,

  output logic                   read_o,
  output logic [InputWidth:0]    read_address_o,  // slot and address of the first byte
  input  logic [Lanes-1:0][7:0]  read_data_i,     // a cycle later, by lane

  output logic [Lanes-1:0]       write_o,  // by lane
  output logic                   write_half_o,
  output logic [1:0]             write_row_o,
  output logic [WindowWidth-1:0] write_address_o,  // in the window
  output logic [Lanes-1:0][7:0]  write_data_o
);

  typedef logic signed [27:0] place_t;  // of a pixel, also far beyond the border

  work_t w;
  logic single, dense;  // runs of one pixel
  assign w      = work_i;
  assign dense  = ~w.fields.depthwise;
  assign single = w.fields.depthwise | (w.fields.dilation_width != 8'd1);

  // The window: its upper left pixel, where that lies in the slot and from the row's begin, the same of its row's first
  // window.
  place_t x_q, y_q;
  size_t window_q, window_offset_q, row_q, column_left_q;
  size_t pixels_left_q, channels_left_q, pass_q;
  logic [1:0] pixel_q;
  // The run.
  place_t run_x_q, run_y_q;
  size_t tap_row_q, run_q, run_offset_q, at_q, at_offset_q, left_q, to_q;
  logic [7:0] ky_q, kx_q;
  logic running_q, first_q, half_q;

  size_t run_bytes;
  logic step, last_piece, last_run, last_row, last_pixel, block_ends, last_pass;
  assign run_bytes  = w.fields.depthwise ? 18'(Lanes) : single ? 18'(w.fields.channels) : w.run_bytes;
  assign step       = running_q & (~first_q | free_i);
  assign last_piece = left_q <= 18'(Lanes);
  assign last_run   = ~single | (kx_q == w.fields.kernel_width - 8'd1);
  assign last_row   = ky_q == w.fields.kernel_height - 8'd1;
  assign last_pixel = pixels_left_q == 18'd1;
  assign block_ends = last_piece & last_run & last_row & ((pixel_q == 2'd3) | last_pixel);
  assign last_pass  = dense | (channels_left_q <= 18'(Lanes));
  assign begins_o   = step & first_q;
  assign busy_o     = running_q;

  // The next window: the next one of the row, the first of the next row, or the first of all.
  logic fresh, turn;
  place_t x, y;
  size_t window, window_offset, row, pass;
  assign fresh = start_i | last_pixel;
  assign turn  = column_left_q == 18'd1;
  assign pass  = start_i ? '0 : pass_q + 18'(Lanes);
  always_comb begin
    if (fresh) begin
      x = -place_t'({1'b0, w.fields.pad_left});
      y = -place_t'({1'b0, w.fields.pad_top});
      row = pass - w.left - w.top;
      window = row;
      window_offset = pass - w.left;
    end else if (turn) begin
      x = -place_t'({1'b0, w.fields.pad_left});
      y = y_q + place_t'({1'b0, w.fields.stride_height});
      row = row_q + w.row_step;
      window = row;
      window_offset = pass_q - w.left;
    end else begin
      x = x_q + place_t'({1'b0, w.fields.stride_width});
      y = y_q;
      row = row_q;
      window = window_q + w.column_step;
      window_offset = window_offset_q + w.column_step;
    end
  end

  logic next_window;
  assign next_window = start_i | (step & last_piece & last_run & last_row);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      running_q <= 1'b0;
      first_q   <= 1'b0;
      half_q    <= 1'b0;
    end else if (start_i) begin
      running_q <= 1'b1;
      first_q   <= 1'b1;
      half_q    <= 1'b0;
    end else if (step) begin
      first_q <= block_ends;
      if (block_ends) half_q <= ~half_q;
      if (block_ends && last_pixel && last_pass) running_q <= 1'b0;
    end
  end

  always_ff @(posedge clk_i) begin
    if (next_window) begin
      x_q             <= x;
      y_q             <= y;
      row_q           <= row;
      window_q        <= window;
      window_offset_q <= window_offset;
      run_x_q         <= x;
      run_y_q         <= y;
      tap_row_q       <= window;
      run_q           <= window;
      run_offset_q    <= window_offset;
      at_q            <= window;
      at_offset_q     <= window_offset;
      left_q          <= run_bytes;
      to_q            <= '0;
      ky_q            <= '0;
      kx_q            <= '0;
      column_left_q   <= (fresh | turn) ? 18'(w.fields.out_width) : column_left_q - 18'd1;
      pixels_left_q   <= fresh ? w.pixels : pixels_left_q - 18'd1;
      pixel_q         <= (fresh | (pixel_q == 2'd3)) ? '0 : pixel_q + 2'd1;
      if (fresh) begin
        pass_q          <= pass;
        channels_left_q <= start_i ? 18'(w.fields.channels) : channels_left_q - 18'(Lanes);
      end
    end else if (step) begin
      to_q <= to_q + (last_piece ? left_q : 18'(Lanes));
      if (!last_piece) begin
        at_q        <= at_q + 18'(Lanes);
        at_offset_q <= at_offset_q + 18'(Lanes);
        left_q      <= left_q - 18'(Lanes);
      end else begin
        left_q <= run_bytes;
        if (!last_run) begin
          kx_q         <= kx_q + 8'd1;
          run_x_q      <= run_x_q + place_t'({1'b0, w.fields.dilation_width});
          run_q        <= run_q + w.tap_step;
          at_q         <= run_q + w.tap_step;
          run_offset_q <= run_offset_q + w.tap_step;
          at_offset_q  <= run_offset_q + w.tap_step;
        end else begin
          kx_q         <= '0;
          ky_q         <= ky_q + 8'd1;
          run_x_q      <= x_q;
          run_y_q      <= run_y_q + place_t'({1'b0, w.fields.dilation_height});
          tap_row_q    <= tap_row_q + w.tap_row_step;
          run_q        <= tap_row_q + w.tap_row_step;
          at_q         <= tap_row_q + w.tap_row_step;
          run_offset_q <= window_offset_q;
          at_offset_q  <= window_offset_q;
        end
      end
    end
  end

  assign read_o         = step;
  assign read_address_o = {w.fields.inputs, at_q[InputWidth-1:0]};

  // Which of the bytes are pixels of the row: those from its begin to its end. A run that is wholly beyond has none,
  // and only then may its offset be too large for its bits.
  place_t width, reach;
  logic pixels;
  size_t ahead, held_bytes;
  assign width  = place_t'({1'b0, w.fields.width});
  assign reach  = single ? place_t'(1) : place_t'({1'b0, w.fields.kernel_width});
  assign pixels = run_y_q >= 0 && run_y_q < place_t'({1'b0, w.fields.height}) && run_x_q < width && run_x_q + reach > 0;
  assign ahead = at_offset_q[17] ? 18'd0 - at_offset_q : '0;
  assign held_bytes = w.row_pitch - at_offset_q;

  function automatic logic [LaneWidth:0] at_most(input size_t value);
    at_most = (value > 18'(Lanes)) ? (LaneWidth + 1)'(Lanes) : value[LaneWidth:0];
  endfunction

  logic read_q, last_q, wrote_q, full_q;
  logic [LaneWidth:0] ahead_q, held_bytes_q, count_q;
  logic [LaneWidth-1:0] by_q;
  logic [1:0] row1_q, row2_q;
  logic half1_q, half2_q;
  size_t to1_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      read_q <= 1'b0;
      last_q <= 1'b0;
    end else begin
      read_q <= step;
      last_q <= step & block_ends;
    end
  end
  logic [LaneWidth-1:0] skew, turned;  // each pixel of a row block lies a quarter of the lanes further on
  assign skew   = {pixel_q, {(LaneWidth - 2){1'b0}}};
  assign turned = to_q[LaneWidth-1:0] + skew;
  logic [LaneWidth-1:0] turned_q;
  always_ff @(posedge clk_i) begin
    ahead_q <= at_most(ahead);
    held_bytes_q <= !pixels ? '0 : (held_bytes[17]) ? '0 : at_most(held_bytes);
    count_q  <= at_most(left_q);
    by_q     <= turned - at_q[LaneWidth-1:0];
    turned_q <= turned;
    row1_q   <= pixel_q;
    half1_q  <= half_q;
    to1_q    <= to_q;
  end

  // The cycle in which the bytes come: each goes to its lane, or the zero point instead.
  logic [Lanes-1:0] held, meant, meant_lanes, held_lanes, write_q;
  logic [Lanes-1:0][7:0] bytes, data_d, data_q;
  for (genvar i = 0; i < Lanes; i++) begin : gen_byte
    assign meant[i] = (LaneWidth + 1)'(i) < count_q;
    assign held[i]  = (LaneWidth + 1)'(i) >= ahead_q && (LaneWidth + 1)'(i) < held_bytes_q;
    assign data_d[i] = held_lanes[i] ? {bytes[i][7] ^ w.fields.unsigned_inputs, bytes[i][6:0]} : w.fields.zero;
  end
  pot_rotator #(
    .Items(Lanes),
    .Width(8)
  ) u_bytes (
    .items_i(read_data_i),
    .by_i(by_q),
    .items_o(bytes)
  );
  pot_rotator #(
    .Items(Lanes),
    .Width(1)
  ) u_meant (
    .items_i(meant),
    .by_i(turned_q),
    .items_o(meant_lanes)
  );
  pot_rotator #(
    .Items(Lanes),
    .Width(1)
  ) u_held (
    .items_i(held),
    .by_i(turned_q),
    .items_o(held_lanes)
  );

  size_t to2_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      wrote_q <= 1'b0;
      full_q  <= 1'b0;
    end else begin
      wrote_q <= read_q;
      full_q  <= last_q;
    end
  end
  always_ff @(posedge clk_i) begin
    data_q  <= data_d;
    write_q <= meant_lanes;
    row2_q  <= row1_q;
    half2_q <= half1_q;
    to2_q   <= to1_q;
  end

  assign write_o         = wrote_q ? write_q : '0;
  assign write_half_o    = half2_q;
  assign write_row_o     = row2_q;
  assign write_address_o = to2_q[WindowWidth-1:0];
  assign write_data_o    = data_q;
  assign full_o          = full_q;

  logic unused;
  assign unused = ^{to2_q, at_q, w};

endmodule
