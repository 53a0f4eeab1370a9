// The rows of a transfer, beat by beat: each row from its first beat of 16 bytes a unit to its last one.

module pot_rows
  import pot_engine_pkg::*;
#(
  parameter int unsigned Units = 4,
  localparam int unsigned Beat      = 16 * Units,
  localparam int unsigned BeatWidth = $clog2(Beat)
) (
  input  logic               clk_i,
  input  logic               rst_ni,

  input  logic               begin_i,  // with the last step of the transfer before it, or when there is none
  input  transfer_t          transfer_i,
  input  logic               step_i,   // to the next beat

  output logic               active_o,  // what follows is that of a beat
  output transfer_t          transfer_o,
  output logic [63:0]        address_o,  // of the beat
  output logic [BeatWidth-1:0] lane_o,   // of its first byte
  output logic [BeatWidth:0] count_o,    // bytes
  output size_t              offset_o,   // of the first byte in the slot
  output logic               first_o,    // beat of the transfer
  output logic               last_o
);

  logic active_q;
  transfer_t t_q;
  logic [63:0] row_q, at_q;
  size_t rows_left_q, offset_q;
  logic [31:0] left_q, here;
  logic row_ends;

  assign here     = (left_q < Beat - 32'(lane_o)) ? left_q : Beat - 32'(lane_o);
  assign row_ends = here == left_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) active_q <= 1'b0;
    else active_q <= begin_i | (active_q & ~(step_i & last_o));
  end

  always_ff @(posedge clk_i) begin
    if (begin_i) begin
      t_q         <= transfer_i;
      row_q       <= transfer_i.address;
      at_q        <= transfer_i.address;
      left_q      <= transfer_i.row_bytes;
      rows_left_q <= transfer_i.rows;
      offset_q    <= transfer_i.offset;
    end else if (step_i) begin
      offset_q <= offset_q + 18'(here);
      left_q   <= left_q - here;
      at_q     <= at_q + 64'(here);
      if (row_ends) begin
        rows_left_q <= rows_left_q - 18'd1;
        left_q      <= t_q.row_bytes;
        row_q       <= row_q + 64'(t_q.stride);
        at_q        <= row_q + 64'(t_q.stride);
      end
    end
  end

  assign active_o   = active_q;
  assign transfer_o = t_q;
  assign address_o  = {at_q[63:BeatWidth], {BeatWidth{1'b0}}};
  assign lane_o     = at_q[BeatWidth-1:0];
  assign count_o    = (BeatWidth + 1)'(here);
  assign offset_o   = offset_q;
  assign first_o    = at_q == t_q.address;
  assign last_o     = row_ends & (rows_left_q == 18'd1);

endmodule
