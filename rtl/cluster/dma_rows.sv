// The beats of one end of a transfer: rows in order, each from its first byte to its last, cut at aligned beats.
// What it gives is of the transfer that stands at its input until the last beat has been taken.
module dma_rows
  import cluster_pkg::*;
(
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic [63:0] start_i,
  input  logic [63:0] stride_i,
  input  logic [31:0] size_i,
  input  logic [31:0] rows_i,
  input  logic        take_i,      // the beat
  output logic        first_o,     // beat of a transfer
  output logic        last_o,
  output logic [63:0] address_o,   // of the beat's first byte
  output logic [6:0]  bytes_o,
  output logic [31:0] done_o       // bytes of the row before this beat
);

  logic started_q, ends_row;
  logic [63:0] row_q, row;
  logic [31:0] done_q, left_q, left, remaining, room;

  assign row       = started_q ? row_q : start_i;
  assign left      = started_q ? left_q : rows_i;
  assign remaining = size_i - done_q;
  assign address_o = row + 64'(done_q);
  assign room      = BeatBytes - 32'(address_o[5:0]);
  assign ends_row  = remaining <= room;
  assign bytes_o   = ends_row ? remaining[6:0] : room[6:0];
  assign first_o   = ~started_q;
  assign last_o    = ends_row & (left == 32'd1);
  assign done_o    = done_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      started_q <= 1'b0;
      done_q    <= '0;
    end else if (take_i) begin
      started_q <= ~last_o;
      done_q    <= ends_row ? '0 : done_q + room;
    end
  end

  always_ff @(posedge clk_i) begin
    if (take_i) begin
      row_q  <= ends_row ? row + stride_i : row;
      left_q <= left - 32'(ends_row);
    end
  end

endmodule
