// First-in first-out queue of Depth items with valid/ready on both sides.
`include "assertions.svh"

module fifo #(
  parameter int unsigned Width = 8,
  parameter int unsigned Depth = 4,
  parameter bit FallThrough = 1'b0,  // an item that meets an empty queue is offered in the same cycle
  localparam int unsigned UsageWidth = $clog2(Depth + 1)
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,
  input  logic                  valid_i,
  output logic                  ready_o,
  input  logic [Width-1:0]      data_i,
  output logic                  valid_o,
  input  logic                  ready_i,
  output logic [Width-1:0]      data_o,
  output logic [UsageWidth-1:0] usage_o  // items stored
);

  localparam int unsigned IndexWidth = (Depth > 1) ? $clog2(Depth) : 1;

  logic [Width-1:0] memory_q[Depth];
  logic [IndexWidth-1:0] head_q, tail_q;
  logic [UsageWidth-1:0] usage_q;
  logic empty, full, bypass, push, pop;

  assign empty   = usage_q == '0;
  assign full    = usage_q == UsageWidth'(Depth);
  assign ready_o = ~full;
  assign valid_o = ~empty | (FallThrough & valid_i);
  assign data_o  = (FallThrough && empty) ? data_i : memory_q[head_q];
  assign usage_o = usage_q;

  assign bypass = FallThrough & empty & valid_i & ready_i;
  assign push   = valid_i & ready_o & ~bypass;
  assign pop    = ready_i & ~empty;

  function automatic logic [IndexWidth-1:0] next_index(input logic [IndexWidth-1:0] index);
    return (index == IndexWidth'(Depth - 1)) ? '0 : index + IndexWidth'(1);
  endfunction

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      head_q  <= '0;
      tail_q  <= '0;
      usage_q <= '0;
    end else begin
      if (pop) head_q <= next_index(head_q);
      if (push) tail_q <= next_index(tail_q);
      if (push != pop) usage_q <= push ? usage_q + UsageWidth'(1) : usage_q - UsageWidth'(1);
    end
  end

  always_ff @(posedge clk_i) begin
    if (push) memory_q[tail_q] <= data_i;
  end

  `POTLUCK_ASSERT_STABLE(Output, valid_o, ready_i, data_o)

endmodule
